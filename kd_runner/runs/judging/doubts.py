"""Reasons why a network from a file may be wrong: one class for all images, classes in another order, normalisation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kd_runner.comparison.chance import largest_class, p_of_at_least, p_of_difference, share_of
from kd_runner.config.sections import DatasetSettings
from kd_runner.datasets.splits import Splits
from kd_runner.evaluation.analysis import spread
from kd_runner.evaluation.metrics import confusion_matrix
from kd_runner.formats import percent
from kd_runner.input_pipeline.view import View
from kd_runner.runs.data import Data
from kd_runner.tensors import evaluation_mode

MOST_TRIED, MOST_PIXELS = 2000, 2**27  # of the validation images, on which other normalisations are tried
SURELY = 0.01  # the largest p at which a difference between two readings of the same images is believed
BETTER_ORDER, BETTER_NORMALISATION = 0.10, 0.05  # the least gains in accuracy that are noted
SENSIBLE = 0.5  # the least accuracy in another order that is noted; relabelling helps a random network, too
LISTED = 20  # the largest number of names in a setting that is written out
PLAIN = re.compile(r"\w[\w.-]*")  # a name that needs no quotes in a list
MOVED = 5  # the number of classes in another order that are named

Normalisation = tuple[list[float], list[float]]


def causes(
    network: nn.Module,
    logits: Tensor,
    labels: Tensor,
    data: Data,
    look_at_normalisation: bool,
    setting: str = "teacher.classes",
    named: Sequence[str] | None = None,
) -> list[str]:
    """The faults of a network that show on the validation images, in words.

    Args:
        setting: The key that names the network's classes, and `named` its value.
        logits: [N, K], the network's for the validation images.
        labels: int64 [N].
        look_at_normalisation: Try other normalisations, too, which takes some passes over the images.
    """
    classes = data.splits.classes
    faults = [*one_class_for_all(logits, labels, classes), *other_order(logits, labels, classes, setting, named)]
    return [*faults, *other_normalisation(network, data)] if look_at_normalisation else faults


def usual_causes(view: View) -> str:
    """The faults that are most frequent where none shows."""
    mean, std = (_numbers(values.tolist()) for values in (view.mean, view.std))
    return (
        f"usual causes: it wants images normalised otherwise than with mean {mean} and std {std} (dataset.mean, "
        "dataset.std), its classes are in another order, or its weights are of another network or another task"
    )


def one_class_for_all(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[str]:
    """The class that is predicted for every image, where it is one and the labels are several."""
    predicted = logits.argmax(1)
    if len(labels.unique()) < 2 or bool((predicted != predicted[0]).any()):
        return []
    return [f'it says "{classes[int(predicted[0])]}" for every image']


def other_order(
    logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    setting: str = "teacher.classes",
    named: Sequence[str] | None = None,
) -> list[str]:
    """The order of classes with which the network would be right far more often, where there is one, and its remedy.

    The best one-to-one relabelling of one half of the images is tried on the other half, so that what fits by chance
    does not count.

    Args:
        setting: The key that names the network's outputs in their order.
        named: The value of that key; None: the outputs are taken as `classes`.
    """
    if len(labels) < 2 * len(classes):
        return []
    predicted = logits.argmax(1)
    right, relabelled = predicted == labels, torch.zeros(len(labels), dtype=torch.bool)
    for fitted, tried in ((0, 1), (1, 0)):
        order = best_order(predicted[fitted::2], labels[fitted::2], len(classes))
        relabelled[tried::2] = order[predicted[tried::2]] == labels[tried::2]
    before, after = share_of(right), share_of(relabelled)
    chance = p_of_at_least(int(relabelled.sum()), len(labels), largest_class(labels)[1])
    if after < max(SENSIBLE, before + BETTER_ORDER) or max(chance, p_of_difference(right, relabelled)) > SURELY:
        return []
    order = best_order(predicted, labels, len(classes))
    moved = [number for number in predicted.unique().tolist() if order[number] != number]
    shown = ", ".join(f"{classes[number]}→{classes[int(order[number])]}" for number in moved[:MOVED])
    more = f" and {len(moved) - MOVED} more" if len(moved) > MOVED else ""
    meant = {name: classes[int(number)] for name, number in zip(classes, order, strict=True)}
    names = [meant.get(name, name) for name in named or classes]
    listed = ",".join(name if PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in names)
    remedy = f"'{setting}=[{listed}]'" if len(names) <= LISTED else f"{setting} names its outputs in their order"
    return [f"its classes seem to be in another order: {percent(after, 1)} with {shown}{more} ({remedy})"]


def best_order(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """int64 [K]: the label that each predicted class stands for most often, one to one."""
    from scipy.optimize import linear_sum_assignment

    by_predicted_class = confusion_matrix(predicted, labels, num_classes).T.double()
    # The half keeps a class in its place where nothing speaks for another.
    counts = by_predicted_class + 0.5 * torch.eye(num_classes)
    return torch.from_numpy(linear_sum_assignment(counts.numpy(), maximize=True)[1])


def other_normalisation(network: nn.Module, data: Data) -> list[str]:
    """The usual normalisation with which the network is right far more often, where there is one."""
    indices = spread(len(data.splits.val), _affordable(data.splits))
    batches = list(data.source("val").read_chunks(indices, data.evaluation_batch))
    labels = torch.cat([labels for _, _, labels in batches]).cpu()

    def right(view: View) -> Tensor:
        with torch.inference_mode():
            logits = [network(view.normalise(images)).float().argmax(1).cpu() for _, images, _ in batches]
        return torch.cat(logits) == labels

    with as_it_was(network):
        network.to(data.device)
        with_this_view = right(data.view)
        with_other_views = {
            name: right(View(torch.tensor(mean), torch.tensor(std), memory_format=data.view.memory_format))
            for name, (mean, std) in usual_normalisations(data.settings, data.splits).items()
        }
    name = max(with_other_views, key=lambda name: int(with_other_views[name].sum()))
    best = with_other_views[name]
    # One of several helps a little by chance. So it must make a good network of this one.
    largest = largest_class(labels)[1]
    good = max(share_of(with_this_view) + BETTER_NORMALISATION, min(2 * largest, (1 + largest) / 2))
    chance = p_of_at_least(int(best.sum()), len(labels), largest)
    if share_of(best) < good or max(chance, p_of_difference(with_this_view, best)) > SURELY:
        return []
    origin = "the training images' mean and std" if data.settings.mean is None else "dataset.mean and .std"
    return [
        f"it is given {origin} ({_numbers(data.view.mean.tolist())} and {_numbers(data.view.std.tolist())}), with "
        f"{name} it is right on {percent(share_of(best), 1)}"
    ]


def usual_normalisations(settings: DatasetSettings, splits: Splits) -> dict[str, Normalisation]:
    """The means and standard deviations that people train with, by the overrides that set them."""
    channels = splits.image_shape[0]
    usual: dict[str, Normalisation] = {
        "dataset.mean=[0.5] dataset.std=[0.5]": ([0.5] * channels, [0.5] * channels),
        "dataset.mean=[0] dataset.std=[1]": ([0.0] * channels, [1.0] * channels),
        "dataset.mean=[0] dataset.std=[0.00392157]": ([0.0] * channels, [1 / 255] * channels),
    }
    if channels == 3:
        imagenet = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        usual["dataset.mean=[0.485,0.456,0.406] dataset.std=[0.229,0.224,0.225]"] = imagenet
    if settings.mean is not None or settings.std is not None:
        pixels = splits.train.sample(1000).float().div(255).transpose(0, 1).flatten(1)
        measured = pixels.mean(1).tolist(), pixels.std(1).clamp_min(1e-3).tolist()
        usual["dataset.mean=null dataset.std=null"] = measured
    return usual


@contextmanager
def as_it_was(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode in a block; then it gets its device and its modes back, whatever happens."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        with evaluation_mode(network):
            yield
    finally:
        network.to(device)


def _affordable(splits: Splits) -> int:
    """The number of validation images that other normalisations are tried on."""
    channels, height, width = splits.image_shape
    return max(1, min(MOST_TRIED, MOST_PIXELS // (channels * height * width), len(splits.val)))


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.3g}" for value in values)
