"""A student that begins with its teacher's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_runner.networks.channels import (
    ChannelGroup,
    State,
    channel_groups,
    head_of,
    kept_channels,
    refuse_missing_library,
    slice_channels,
)


@dataclass(frozen=True)
class Injected:
    """The weights that were copied.

    Args:
        layers: The names of the layers all of whose weights were copied.
        parameters: The number of parameters that were copied.
        of: The number of the student's parameters.
    """

    layers: tuple[str, ...]
    parameters: int
    of: int

    @property
    def share(self) -> float:
        """The share of the student's parameters that was copied."""
        return self.parameters / self.of


@torch.no_grad()
def inject(student: nn.Module, teacher: nn.Module, image_shape: Sequence[int]) -> Injected:
    """Copy into the student the teacher's layers of the same names; returns what was copied.

    Of a layer that is narrower in the student, the channels with the largest L1 norm are copied, in their order, and
    the layers that read them get the weights for the same channels; so do layers whose outputs are added to one
    another. The layer that gives the logits is copied from that of the teacher alone. A layer is copied where then all
    its weights have the student's shapes, running means and variances with them. Others keep their first weights.

    Args:
        image_shape: The shape [C, H, W] of the images.

    Raises:
        SettingsError: a narrower layer, and torch-pruning, which finds the channels that belong together, is not there.
    """
    # A student's last layer may have the name of a layer in the middle of its teacher.
    unlike = {head_of(student, image_shape)} ^ {head_of(teacher, image_shape)}
    target = {name: value for name, value in student.state_dict().items() if name.rpartition(".")[0] not in unlike}
    source: State = teacher.state_dict()
    common = [name for name in target if name in source]
    if any(target[name].shape != source[name].shape for name in common):
        refuse_missing_library("student.init")
        groups = channel_groups(teacher, image_shape)
        removed = [_excess(group, source, target) for group in groups]
        source = slice_channels(source, kept_channels(groups, removed))
    parameters = dict(student.named_parameters())
    layers: dict[str, list[str]] = {}
    for name in target:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    fitting = {
        layer: names
        for layer, names in layers.items()
        if all(name in source and source[name].shape == target[name].shape for name in names)
    }
    for name in (name for names in fitting.values() for name in names):
        target[name].copy_(source[name])
    copied = sum(parameters[name].numel() for names in fitting.values() for name in names if name in parameters)
    total = sum(parameter.numel() for parameter in parameters.values())
    return Injected(tuple(fitting), copied, total)


def _excess(group: ChannelGroup, source: State, target: State) -> Tensor:
    """The channels of a group, bool [size], that the student has no place for; none where it is not narrower."""
    norms = group.norms(source)
    none = torch.zeros(group.size, dtype=torch.bool)
    widths = {
        len(target[f"{part.layer}.weight"])
        for part in group.parts
        if part.side == "out" and f"{part.layer}.weight" in target
        if len(part.rows) == group.size == part.size
    }
    if len(widths) != 1 or (width := widths.pop()) >= group.size:
        return none
    excess = ~none
    excess[norms.topk(width).indices.cpu()] = False
    return excess
