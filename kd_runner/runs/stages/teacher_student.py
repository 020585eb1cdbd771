"""A student beside its teacher: the layers each mode listens to, and adapters between them shaped by a dry run."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.config.field_types import ASKED, Node
from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Splits
from kd_runner.errors import Answer, SettingsError, code_error, one_line, own_frame
from kd_runner.networks.fake_quantization import round_layers
from kd_runner.networks.layers import Layers, layers_of
from kd_runner.networks.observed import Observed
from kd_runner.notes import note
from kd_runner.outputs import INPUT, UNDECLARED, AdapterExample, Outputs
from kd_runner.plain_text import lines
from kd_runner.randomness import seeded_generator
from kd_runner.runs.stages.headless import is_silent
from kd_runner.tensors import SAME_NUMBERS
from kd_runner.training.mode import Mode

log = logging.getLogger(__name__)

PAIRED_ROLES = (
    *("stages", "beginning and stages", "preactivations"),
    *("stages and embedding", "preactivations and embedding"),
)
ROLES = ("student", "teacher")


@dataclass(frozen=True)
class Pairing:
    """A student beside its teacher, ready to train.

    Args:
        student, teacher: The networks with the hooks that the modes need.
        modes: The modes with their layers and adapters.
        node: The node that builds the student as it is deployed, which is another form of it for some modes.
    """

    student: Observed
    teacher: Observed
    modes: tuple[Mode, ...]
    node: Node


@dataclass
class Networks:
    """The networks that modes are fitted to.

    Args:
        by_role: The networks, by 'student' and 'teacher'.
        layers: The layers of each network.
        images: Images of noise [2, C, H, W], for dry runs.
        splits: The data set.
        labels: The labels of the images that the student learns from, int64 [N].
        layer_keys: The keys that name the layers of modes, by the mode's key and the role.
    """

    by_role: dict[str, nn.Module]
    layers: dict[str, Layers]
    images: Tensor
    splits: Splits
    labels: Tensor
    layer_keys: Mapping[tuple[str, str], str]

    def replace_student(self, network: nn.Module) -> None:
        """Put another form of the student in its place."""
        self.by_role["student"] = network
        self.layers["student"] = _layers("student", network, self.images, self.splits.num_classes)

    def observe(self, role: str, names: Sequence[str], key: str = "") -> Observed:
        """The network of a role with hooks on the layers of these names, which the settings have at `key`."""
        try:
            return Observed(self.by_role[role], names)
        except ValueError as error:
            key = key or f"{role}.layers"
            raise SettingsError(f"{key}: {error}; the network's layers are {self.layers[role]}") from error


def noise(image_shape: Sequence[int], count: int = 2) -> Tensor:
    """Images of noise [count, C, H, W], which are always the same."""
    return torch.randn(count, *image_shape, generator=torch.Generator().manual_seed(0))


def pair_networks(
    settings: Settings,
    splits: Splits,
    teacher: nn.Module,
    student: nn.Module,
    modes: Sequence[Mode],
    labels: Tensor | None = None,
) -> Pairing:
    """Fit `modes` to the two networks. Adapters are seeded by the run, so that doing this twice gives the same.

    Args:
        labels: The labels of the images that the student learns from, int64 [N]; None: those of all training images.

    Raises:
        SettingsError: a network that cannot take the images, unknown layers, or layers that a mode cannot use.
        Answer: the layers, where `teacher.layers` or `student.layers` is '?'.
    """
    images = noise(splits.image_shape)
    by_role = {"teacher": teacher, "student": student}
    layers = {role: _layers(role, network, images, splits.num_classes) for role, network in by_role.items()}
    labels = splits.train.labels if labels is None else labels
    keys = {(mode.key, role): layers_key(mode, role, settings) for mode in modes for role in ROLES}
    networks = Networks(by_role, layers, images, splits, labels, keys)
    for role in by_role:
        _check_named_layers(role, getattr(settings, role).layers, networks)
    node = settings.student.node
    fitted: list[Mode] = []
    for mode in modes:
        if mode.standardize and splits.num_classes < 3:
            raise SettingsError(f"{mode.key}.standardize: must be false with two classes, {SAME_NUMBERS}")
        for role in ROLES:
            networks.observe(role, getattr(mode, f"{role}_layers"), keys[mode.key, role]).release()
        mode = _with_layers(mode, settings, networks)
        if mode.weight > 0 and hasattr(mode.loss, "deployed"):
            mode, node = _deploy(mode, node, settings.seed, networks)
            if settings.trainer.quantize:
                round_layers(networks.by_role["student"])  # what the mode has added is deployed, too
        fitted.append(mode)
    _refuse_unused_layers(settings, fitted)
    for mode in fitted:
        if hasattr(mode.loss, "adapt"):
            _adapt(mode, settings.seed, networks)
    observed = {role: networks.observe(role, _layers_of_modes(role, fitted)) for role in by_role}
    return Pairing(observed["student"], observed["teacher"], tuple(fitted), node)


def _layers(role: str, network: nn.Module, images: Tensor, num_classes: int) -> Layers:
    """The layers of a network; an error names its role."""
    try:
        return layers_of(network, images, num_classes)
    except Exception as error:  # whatever a network of anyone's raises, the person needs to know which one
        shape = "x".join(map(str, images.shape[1:]))
        message = one_line(error)
        if message.startswith("must return logits"):
            raise SettingsError(f"{role}: {message}") from error
        if own_frame(error) is not None:  # the size of the images need not be why
            raise SettingsError(f"{role}: failed on images of {shape}: {code_error(error)}") from error
        raise SettingsError(f"{role}: cannot take images of {shape}: {message}") from error


def _check_named_layers(role: str, names: Sequence[str] | str, networks: Networks) -> None:
    """Answer a question for the layers of a network, and refuse names of layers that it does not have."""
    if names == ASKED:
        raise Answer(lines(networks.layers[role].lines()))
    networks.observe(role, names).release()


def _with_layers(mode: Mode, settings: Settings, networks: Networks) -> Mode:
    """The mode with the layers it listens to: its own, else the network's, else those its needs ask for."""
    layers, keys = networks.layers, {role: networks.layer_keys[mode.key, role] for role in ROLES}
    named = {role: _named_layers(mode, role, settings) for role in ROLES}
    chosen = {role: named[role] or _needed_layers(mode, role, layers[role], keys[role]) for role in ROLES}
    automatic = [role for role in ROLES if not named[role] and getattr(mode.needs, role) is not None]
    if len(automatic) == 2 and mode.needs.student in PAIRED_ROLES and mode.needs.teacher in PAIRED_ROLES:
        # The deepest stages belong together, however many came before them.
        common = min(map(len, chosen.values()))
        chosen = {role: names[-common:] for role, names in chosen.items()}
    for role, names in chosen.items():
        channels_last = layers[role].channels_last
        in_this_order = [name for name in names if name.removesuffix(INPUT) in channels_last]
        _note_channels_last(mode, role, in_this_order, keys[role])
    return replace(mode, student_layers=chosen["student"], teacher_layers=chosen["teacher"])


def layers_key(mode: Mode, role: str, settings: Settings) -> str:
    """The key that names a mode's layers of a network, or may name them."""
    is_added = mode.key != "distillation" and not getattr(settings, role).layers
    return f"{mode.key}.{role}_layers" if getattr(mode, f"{role}_layers") or is_added else f"{role}.layers"


def _named_layers(mode: Mode, role: str, settings: Settings) -> tuple[str, ...]:
    """The layers that the settings name for a mode, its own or the network's; none where it listens to none."""
    listens = getattr(mode.needs, role) is not None or mode.needs is UNDECLARED
    of_mode = getattr(mode, f"{role}_layers")
    if of_mode and not listens:
        raise SettingsError(f"{mode.key}.{role}_layers: has no effect, the mode listens to none, got {list(of_mode)}")
    return (of_mode or tuple(getattr(settings, role).layers)) if listens else ()


def _needed_layers(mode: Mode, role: str, layers: Layers, key: str) -> tuple[str, ...]:
    """The layers that a mode's needs ask for; `key` could name others."""
    need = getattr(mode.needs, role)
    if need is None:
        return ()
    try:
        return layers.of(need)
    except ValueError as error:
        raise SettingsError(f"{mode.key}: the {role} {error} ({key})") from error


def _note_channels_last(mode: Mode, role: str, names: Sequence[str], key: str) -> None:
    """Note the layers of these names, which give maps in another order of axes than modes read."""
    if names:
        note(
            role,
            f"{mode.key}: the {role}'s {', '.join(names)} give maps [N, H, W, C], which the mode reads as "
            f"[N, C, H, W]; name layers of another kind in {key}, or use a mode of logits",
        )


def _refuse_unused_layers(settings: Settings, modes: Sequence[Mode]) -> None:
    """Refuse named layers that no mode listens to: a setting that would be ignored is an error."""
    for role in ROLES:
        takers = [mode for mode in modes if getattr(mode.needs, role) is not None or mode.needs is UNDECLARED]
        named = list(getattr(settings, role).layers)
        if named and not takers:
            raise SettingsError(f"{role}.layers: has no effect, {modes[0].key} listens to none, got {named}")


def _layers_of_modes(role: str, modes: Sequence[Mode]) -> list[str]:
    """The layers of a network that the modes with a weight listen to."""
    return [layer for mode in modes if mode.weight > 0 for layer in getattr(mode, f"{role}_layers")]


def _deploy(mode: Mode, node: Node, seed: int, networks: Networks) -> tuple[Mode, Node]:
    """Give the student the form in which a mode deploys it; returns the mode with its layers, and the new node."""
    example = _adapter_example(mode, networks)
    with seeded_generator(seed, "distillation", mode.key, "deployed"):
        deployed = _call_method(mode.key, mode.loss.deployed, example)  # type: ignore[attr-defined]
    networks.replace_student(deployed.network)
    return replace(mode, student_layers=deployed.layers), {**deployed.node, "student": node}


def _adapt(mode: Mode, seed: int, networks: Networks) -> None:
    """Let a mode make its adapters between the two networks."""
    example = _adapter_example(mode, networks)
    with seeded_generator(seed, "distillation", mode.key):
        try:
            _call_method(mode.key, mode.loss.adapt, example)  # type: ignore[attr-defined]
        except SettingsError as error:
            if not re.search(r"\b(layers?|maps)\b", str(error)):
                raise
            keys = " and ".join(networks.layer_keys[mode.key, role] for role in ROLES)
            raise SettingsError(f"{error}; {keys} name them") from error


def _call_method(key: str, method: Any, example: AdapterExample) -> Any:
    try:
        return method(example)
    except Exception as error:  # anyone's mode
        raise SettingsError(f"{key}: {code_error(error)}") from error


def _adapter_example(mode: Mode, networks: Networks) -> AdapterExample:
    """The outputs of both networks for images of noise, and the networks themselves."""
    outputs = {role: _dry_run(mode, role, networks) for role in ROLES}
    student, teacher = networks.by_role["student"], networks.by_role["teacher"]
    head = networks.layers["teacher"].head
    dense_layer = teacher.get_submodule(head) if head is not None else None
    assert dense_layer is None or isinstance(dense_layer, nn.Linear)
    dense_layer = None if is_silent(dense_layer) else dense_layer
    return AdapterExample(
        outputs["student"],
        outputs["teacher"],
        student,
        teacher,
        dense_layer,
        networks.layers["student"].head,
        networks.labels,
    )


def _dry_run(mode: Mode, role: str, networks: Networks) -> Outputs:
    """The outputs of one network for images of noise, with the features that a mode is handed."""
    network, names = networks.by_role[role], getattr(mode, f"{role}_layers")
    observed = networks.observe(role, names)
    training = network.training
    with torch.no_grad():
        outputs = observed_outputs(observed, networks.images)
    network.train(training)
    observed.release()
    for name in names:
        _check_feature(mode, role, name, outputs, networks.layer_keys[mode.key, role])
    return outputs


def _check_feature(mode: Mode, role: str, name: str, outputs: Outputs, key: str) -> None:
    """Refuse a layer that gives nothing that a mode can use; the settings name it, or may name another, at `key`."""
    if name not in outputs.features:
        raise SettingsError(f"{key}: {name} is not used when the network runs")
    feature = outputs.features[name]
    if not isinstance(feature, Tensor):
        raise SettingsError(f"{key}: {name} must give a tensor, gives {type(feature).__name__}")
    if mode.needs.maps and feature.dim() != 4:
        shape = ", ".join(["N", *map(str, feature.shape[1:])])
        raise SettingsError(
            f"{mode.key}: must have maps [N, C, H, W] from the {role}, whose layer {name} gives [{shape}]; "
            f"choose a convolutional network or another of its layers ({key})"
        )


def observed_outputs(observed: Observed, images: Tensor) -> Outputs:
    """The outputs of the network for `images`, on the CPU and in evaluation mode."""
    device = next((parameter.device for parameter in observed.network.parameters()), torch.device("cpu"))
    observed.network.eval()
    outputs = observed(images.to(device))
    features = {name: f.cpu() if isinstance(f, Tensor) else f for name, f in outputs.features.items()}
    return Outputs(outputs.logits.cpu(), features, indices=torch.arange(len(images))).float()
