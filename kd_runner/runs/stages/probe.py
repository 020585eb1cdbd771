"""A backbone as teacher: its last dense layer is fitted to the labels, all else stays as it is.

This is a linear probe, as for judging pretrained networks (Kornblith et al. 2019, arXiv:1805.08974): multinomial
logistic regression on the features, by L-BFGS, with the strength of L2 that is best on the validation images. Weights
of classes weigh the images, and a balanced draw is the weights that it gives the classes on average.
"""

from __future__ import annotations

import copy
import functools
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.config.build import source_digest
from kd_runner.config.sections import DatasetSettings, ExtraTeacherSettings, TeacherSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import weights_file
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.networks import checkpoints
from kd_runner.networks.layers import layers_of
from kd_runner.networks.observed import Observed
from kd_runner.networks.weight_files import Entry
from kd_runner.notes import note
from kd_runner.outputs import INPUT
from kd_runner.runs.data import Data
from kd_runner.runs.resume import corrected
from kd_runner.runs.stages.labels_only import TrainedNetwork, masked_ingredients, take_weights
from kd_runner.runs.stages.teacher_student import noise
from kd_runner.store.entries import key_of, trained_once
from kd_runner.tracking.logger import RunLogger
from kd_runner.tracking.shared_networks import SharedNetwork
from kd_runner.training.label_loss import weights_of_classes
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.switches import ClassWeights

log = logging.getLogger(__name__)

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # factors of half the squared norm of the weights, beside the mean loss
ITERATIONS = 200  # of L-BFGS for each strength
LEAST_STD = 1e-6  # of a feature that is the same for all images
FORM = 1  # raise by one when the fit changes: probes in stores are then fitted again


def head_name(network: nn.Module, key: str, splits: Splits) -> str:
    """The name of the dense layer that gives the logits of a network.

    Args:
        key: The key of its settings, for messages.

    Raises:
        SettingsError: it has none.
    """
    layers = layers_of(network, noise(splits.image_shape), splits.num_classes)
    if layers.head is None:
        raise SettingsError(f"{key}.head: must be trained for a network whose logits are not from a dense layer")
    return layers.head


def without_head(network: nn.Module, head: str) -> nn.Module:
    """A copy of a network in which nothing stands in the place of the layer of that name."""
    bare = copy.deepcopy(network)
    bare.set_submodule(head, nn.Identity())
    return bare


def entries_without_head(entries: Iterable[Entry], bare: nn.Module, head: str) -> list[Entry]:
    """The tensors of a file less those of a layer `head`; other layers may end in the same name."""
    names_without_head = set(bare.state_dict())

    def is_of_head(name: str) -> bool:
        parts = name.split(".")
        ends = [".".join(parts[start:]) for start in range(len(parts))]
        return not names_without_head & set(ends) and any(end in (f"{head}.weight", f"{head}.bias") for end in ends)

    return [entry for entry in entries if not is_of_head(entry.name)]


def probe_or_load(
    name: str, network: nn.Module, settings: Settings, data: Data, logger: RunLogger, folder: Path
) -> TrainedNetwork:
    """Fit the last layer of a teacher to the labels, or take it from the store.

    Args:
        name: The name of the teacher's stage.
        network: The teacher with the weights of its backbone; it gets its last layer.
    """
    section = settings.all_teachers[name]
    made_of = ingredients(name, network, section, settings, data)
    info = data.record(section.node) | {"val_images": len(data.splits.val)}

    def train(resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
        return network, [fit_head(name, network, data, settings.dataset)]

    root = with_home(settings.store)
    stored = trained_once(root, name, made_of, info, train, masked_ingredients(made_of, name), network=network)
    path = take_weights(stored, folder / weights_file(name))
    network.load_state_dict(checkpoints.read_checkpoint(path)[0])
    logger.retell(SharedNetwork(name, section.node, settings.seed_of(name), key_of(made_of)), stored.epochs)
    return TrainedNetwork(path, stored.epochs, 0.0)


def ingredients(
    name: str, network: nn.Module, section: TeacherSettings | ExtraTeacherSettings, settings: Settings, data: Data
) -> dict[str, Any]:
    """Everything that a probe depends on, as plain data."""
    return {
        **data.describe(section.node),
        "probe": FORM,
        "role": name,
        "backbone": checkpoints.state_digest(without_head(network, head_name(network, name, data.splits)).state_dict()),
        "source": [source_digest(section.bare_node, name, settings.trust)],
        "data": data.splits.training_fingerprint,
        "validation": data.splits.fingerprint,
        "device": data.device.type,
        "channels_last": settings.trainer.channels_last,
        **corrected.of_probes(settings.dataset),
    }


def fit_head(name: str, network: nn.Module, data: Data, settings: DatasetSettings) -> dict[str, float]:
    """Fit the last layer of a network to the labels of the training images, as they are; returns its metrics."""
    started = time.monotonic()
    head = head_name(network, name, data.splits)
    layer = network.get_submodule(head)
    assert isinstance(layer, nn.Linear)
    network.to(data.device).eval()
    train = features_of(network, head, PlainBatches(data.source("train"), data.view, data.evaluation_batch))
    val = features_of(network, head, data.plain_batches("val"))
    classes = data.splits.num_classes
    weights = image_weights(settings, train[1], classes)
    weight, bias, metrics = best_regression(train, val, classes, layer.bias is not None, weights)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    log.info(
        "%-9s last layer fitted to %s features of %s images in %.1f s  val accuracy %.4f  (L2 %g)",
        *(name, f"{train[0].shape[1]:,}", f"{len(train[0]):,}", time.monotonic() - started),
        *(metrics["val_accuracy"], metrics["l2"]),
    )
    return metrics


def image_weights(settings: DatasetSettings, labels: Tensor, classes: int) -> Tensor | None:
    """The weight of each training image in the fit, float32 [N]; None where all count alike.

    Args:
        labels: int64 [N].
    """
    class_weights = settings.class_weights
    asked: list[ClassWeights] = [tuple(class_weights) if isinstance(class_weights, list) else class_weights]
    asked += ["balanced"] if settings.balanced_sampling else []
    weights = [weights_of_classes(kind, labels, classes)[labels] for kind in asked if kind is not None]
    return functools.reduce(torch.mul, weights) if weights else None


def features_of(network: nn.Module, head: str, batches: PlainBatches) -> tuple[Tensor, Tensor]:
    """The inputs of the layer `head`, float32 [N, D], and the labels [N], of all images."""
    observed = Observed(network, [f"{head}{INPUT}"])
    features, labels = [], []
    with torch.no_grad():
        for batch in batches:
            features.append(observed(batch.images).features[f"{head}{INPUT}"].float().flatten(1))
            labels.append(batch.labels)
    observed.release()
    return torch.cat(features), torch.cat(labels)


def best_regression(
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    classes: int,
    has_bias: bool,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """The weights [K, D] and the biases [K] of the regression that is most often right on the validation images.

    Of equally good ones, that with the smaller validation loss. The features are standardized for the fit.

    Args:
        train, val: Features float32 [N, D] and labels [N].
        has_bias: False for a layer without biases, for which no mean can be taken off.
        weights: Weights of the training images, [N]; None: all count alike. All validation images count alike.
    """
    features, labels = train
    mean = features.mean(0) if has_bias else torch.zeros_like(features[0])
    std = (features - mean).square().mean(0).sqrt()
    inverse = torch.where(std > LEAST_STD * std.max(), 1 / std.clamp_min(1e-30), torch.zeros_like(std))
    seen, seen_val = (features - mean) * inverse, (val[0] - mean) * inverse
    parameters = torch.zeros(classes, features.shape[1] + 1, device=features.device)
    fits = []
    for strength in STRENGTHS:
        parameters = regression(seen, labels, parameters, strength, has_bias, weights)
        logits = _logits(seen_val, parameters)
        right = float((logits.argmax(1) == val[1]).double().mean())
        train_loss = float(_mean_loss(_logits(seen, parameters), labels, weights))
        val_loss = float(F.cross_entropy(logits, val[1]))
        metrics = {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": right, "l2": strength}
        fits.append((parameters, metrics))
    best, metrics = max(fits, key=lambda fit: (fit[1]["val_accuracy"], -fit[1]["val_loss"]))
    weight = best[:, :-1] * inverse
    return weight, best[:, -1] - weight @ mean, metrics


def regression(
    features: Tensor, labels: Tensor, start: Tensor, strength: float, has_bias: bool, weights: Tensor | None = None
) -> Tensor:
    """Weights and, in the last column, biases [K, D + 1] with the least mean cross-entropy plus L2, from `start`."""
    parameters = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([parameters], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = _mean_loss(_logits(features, parameters), labels, weights)
        value = value + strength / 2 * parameters[:, :-1].square().sum()
        value.backward()
        if not has_bias and parameters.grad is not None:
            parameters.grad[:, -1] = 0
        return value

    optimizer.step(loss)
    return parameters.detach()


def _mean_loss(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """The mean cross-entropy of the images, each as often as its weight says."""
    if weights is None:
        return F.cross_entropy(logits, labels)
    return (F.cross_entropy(logits, labels, reduction="none") * weights).mean()


def _logits(features: Tensor, parameters: Tensor) -> Tensor:
    return F.linear(features, parameters[:, :-1], parameters[:, -1])


def note_first_weights(name: str, section: TeacherSettings | ExtraTeacherSettings) -> None:
    """Note where nothing says what the backbone of a teacher was trained on."""
    if section.checkpoint is None and not _asks_for_pretrained(section.node):
        note(
            "teacher",
            f"the backbone of {name} keeps its first weights, which are random ({name}.checkpoint, {name}.pretrained)",
        )


def _asks_for_pretrained(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    return bool(node.get("pretrained") or node.get("weights")) or any(map(_asks_for_pretrained, node.values()))
