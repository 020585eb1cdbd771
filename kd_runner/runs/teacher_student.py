"""A student beside its teacher: the layers each mode listens to, and adapters between them shaped by a dry run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.config.settings import ASKED, Node, Settings
from kd_runner.datasets.splits import Splits
from kd_runner.errors import Answer, SettingsError, one_line
from kd_runner.networks.layers import Layers, layers_of
from kd_runner.networks.observed import Observed
from kd_runner.notes import note
from kd_runner.outputs import INPUT, UNDECLARED, AdapterExample, Outputs
from kd_runner.randomness import seeded_generator
from kd_runner.tensors import SAME_NUMBERS
from kd_runner.training.mode import Mode

log = logging.getLogger(__name__)

# Roles whose layers go in pairs.
SEVERAL = ("stages", "preactivations", "stages and embedding", "preactivations and embedding")


@dataclass(frozen=True)
class Pairing:
    """What trains a student.

    Args:
        student, teacher: With the hooks that the modes need.
        modes: With their adapters.
        node: What builds the student as it is deployed; not the settings' where a mode gives it another form.
    """

    student: Observed
    teacher: Observed
    modes: tuple[Mode, ...]
    node: Node


def noise(image_shape: Sequence[int], count: int = 2) -> Tensor:
    """Images [count, C, H, W] that are always the same."""
    return torch.randn(count, *image_shape, generator=torch.Generator().manual_seed(0))


def pair_networks(
    settings: Settings, splits: Splits, teacher: nn.Module, student: nn.Module, modes: Sequence[Mode]
) -> Pairing:
    """`modes` fitted to the two networks. Adapters are seeded by the run, so that doing this twice gives the same.

    Raises:
        SettingsError: a network that cannot take the images, unknown layers, or layers that a mode cannot use.
        Answer: the layers, where `teacher.layers` or `student.layers` is '?'.
    """
    images = noise(splits.image_shape)
    networks = {"teacher": teacher, "student": student}
    found = {role: _layers(role, network, images, splits.num_classes) for role, network in networks.items()}
    for role, layers in found.items():
        if getattr(settings, role).layers == ASKED:
            raise Answer("\n".join(f"{name}  {size}" for name, size in layers.sizes().items()))
        _observe(role, networks[role], getattr(settings, role).layers, layers).release()
    node = settings.student.node
    heard: list[Mode] = []
    for mode in modes:
        if mode.standardize and splits.num_classes < 3:
            raise SettingsError(f"{mode.key}.standardize: must be false with two classes, {SAME_NUMBERS}")
        mode = _with_layers(mode, settings, found)
        if mode.weight > 0 and hasattr(mode.loss, "deployed"):
            example = _example(mode, networks, found, images, splits)
            with seeded_generator(settings.seed, "distillation", mode.key, "deployed"):
                deployed = _answer_of_mode(mode.key, mode.loss.deployed, example)
            networks["student"], node = deployed.network, {**deployed.node, "student": node}
            mode = replace(mode, student_layers=deployed.layers)
            found["student"] = _layers("student", deployed.network, images, splits.num_classes)
        heard.append(mode)
    _refuse_unused_layers(settings, heard)
    for mode in heard:
        if hasattr(mode.loss, "adapt"):
            example = _example(mode, networks, found, images, splits)
            with seeded_generator(settings.seed, "distillation", mode.key):
                _answer_of_mode(mode.key, mode.loss.adapt, example)
    active = [mode for mode in heard if mode.weight > 0]
    listening = {
        "teacher": [layer for mode in active for layer in mode.teacher_layers],
        "student": [layer for mode in active for layer in mode.student_layers],
    }
    observed = {role: _observe(role, networks[role], listening[role], found[role]) for role in networks}
    return Pairing(observed["student"], observed["teacher"], tuple(heard), node)


def _layers(role: str, network: nn.Module, images: Tensor, num_classes: int) -> Layers:
    try:
        return layers_of(network, images, num_classes)
    except Exception as error:  # whatever a network of anyone's raises, the person needs to know which one
        shape = "x".join(map(str, images.shape[1:]))
        message = one_line(error)
        if message.startswith("must return logits"):
            raise SettingsError(f"{role}: {message}") from error
        raise SettingsError(f"{role}: cannot take images of {shape}: {message}") from error


def _with_layers(mode: Mode, settings: Settings, found: dict[str, Layers]) -> Mode:
    """The mode with the layers it listens to: its own, else the network's, else those its needs ask for."""
    chosen: dict[str, tuple[str, ...]] = {}
    automatic = []
    for role in ("student", "teacher"):
        own = getattr(mode, f"{role}_layers") or tuple(getattr(settings, role).layers)
        need = getattr(mode.needs, role)
        if getattr(mode, f"{role}_layers") and need is None and mode.needs is not UNDECLARED:
            raise SettingsError(f"{mode.key}.{role}_layers: has no effect, the mode listens to none, got {list(own)}")
        if own and (need is not None or mode.needs is UNDECLARED):
            chosen[role] = own
        elif need is None:
            chosen[role] = ()
        else:
            automatic.append(role)
            try:
                chosen[role] = found[role].of(need)
            except ValueError as error:
                raise SettingsError(f"{mode.key}: the {role} {error} ({role}.layers)") from error
    if len(automatic) == 2 and mode.needs.student in SEVERAL and mode.needs.teacher in SEVERAL:
        # The deepest stages belong together, however many came before them.
        common = min(map(len, chosen.values()))
        chosen = {role: layers[-common:] for role, layers in chosen.items()}
    for role, layers in chosen.items():
        last = [layer for layer in layers if layer.removesuffix(INPUT) in found[role].channels_last]
        if last:
            note(
                role,
                f"{mode.key}: the {role}'s {', '.join(last)} give maps [N, H, W, C], which the mode reads as "
                f"[N, C, H, W]; name layers of another kind in {role}.layers, or use a mode of logits",
            )
    return replace(mode, student_layers=chosen["student"], teacher_layers=chosen["teacher"])


def _refuse_unused_layers(settings: Settings, modes: Sequence[Mode]) -> None:
    """A setting that would be ignored is an error."""
    for role in ("student", "teacher"):
        takers = [mode for mode in modes if getattr(mode.needs, role) is not None or mode.needs is UNDECLARED]
        named = list(getattr(settings, role).layers)
        if named and not takers:
            raise SettingsError(f"{role}.layers: has no effect, {modes[0].key} listens to none, got {named}")


def _observe(role: str, network: nn.Module, names: Sequence[str], layers: Layers) -> Observed:
    try:
        return Observed(network, names)
    except ValueError as error:
        raise SettingsError(f"{role}.layers: {error}; the network's layers are {layers}") from error


def _example(
    mode: Mode, networks: dict[str, nn.Module], found: dict[str, Layers], images: Tensor, splits: Splits
) -> AdapterExample:
    outputs = {}
    for role in ("student", "teacher"):
        names = getattr(mode, f"{role}_layers")
        observed = _observe(role, networks[role], names, found[role])
        training = networks[role].training
        with torch.no_grad():
            outputs[role] = observed_outputs(observed, images)
        networks[role].train(training)
        observed.release()
        for name in names:
            if name not in outputs[role].features:
                raise SettingsError(f"{role}.layers: {name} is not used when the network runs")
            feature = outputs[role].features[name]
            if not isinstance(feature, Tensor):
                raise SettingsError(f"{role}.layers: {name} must give a tensor, gives {type(feature).__name__}")
            if mode.needs.maps and feature.dim() != 4:
                raise SettingsError(
                    f"{mode.key}: must have maps [N, C, H, W] from the {role}, {name} gives {list(feature.shape)}; "
                    f"choose a convolutional network or another of its layers ({role}.layers)"
                )
    head = found["teacher"].head
    layer = networks["teacher"].get_submodule(head) if head is not None else None
    assert layer is None or isinstance(layer, nn.Linear)
    labels = splits.train.labels
    return AdapterExample(
        outputs["student"],
        outputs["teacher"],
        networks["student"],
        networks["teacher"],
        layer,
        found["student"].head,
        labels,
    )


def observed_outputs(observed: Observed, images: Tensor) -> Outputs:
    """What the network gives for `images` on the CPU, in evaluation mode."""
    device = next((parameter.device for parameter in observed.network.parameters()), torch.device("cpu"))
    observed.network.eval()
    outputs = observed(images.to(device))
    features = {name: f.cpu() if isinstance(f, Tensor) else f for name, f in outputs.features.items()}
    return Outputs(outputs.logits.cpu(), features, indices=torch.arange(len(images))).float()


def _answer_of_mode(key: str, method: Any, example: AdapterExample) -> Any:
    try:
        return method(example)
    except Exception as error:  # anyone's mode
        raise SettingsError(f"{key}: {one_line(error)}") from error
