"""The results of pruning a network: its zeros, their cost, and the smaller network without its removed channels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.config.field_types import Node
from kd_runner.errors import SettingsError
from kd_runner.files.stages import STUDENT
from kd_runner.models.narrowed import narrowed
from kd_runner.networks.channels import WEIGHTED, Kept, channel_groups, kept_channels, slice_channels
from kd_runner.notes import note
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.teacher_student import noise
from kd_runner.training.pruning import units_of

ROUNDING = 1e-4  # of the largest logit: sums over fewer channels are made in another order


def count_weights(network: nn.Module) -> int:
    """The number of weights of convolutions and dense layers, zeros included."""
    return sum(weight.numel() for weight in _weights(network))


def _weights(network: nn.Module) -> Iterable[Tensor]:
    layers = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    return {id(module.weight): module.weight for module in layers}.values()


def sparsity(network: nn.Module, image: Tensor, weights_before: int) -> dict[str, float | int | None]:
    """The share of the weights that pruning has removed, or set to zero, and the cost of the others.

    Counted are the weights of convolutions and dense layers; 'nonzero_parameters' counts all parameters.
    'nonzero_macs' are the multiply-accumulates of one image [1, C, H, W] in these layers whose weight is not zero: what
    a device would compute that leaves zeros out. Other devices take as long as for the whole network.

    Args:
        weights_before: The number of weights (`count_weights`) of the network before channels were removed.
    """
    remaining = sum(int((weight != 0).sum()) for weight in _weights(network))
    macs = 0

    def add(module: Any, inputs: object, output: Tensor) -> None:
        nonlocal macs
        # Each weight of a convolution counts once for each place of its output; of a dense layer, for each row.
        channels = output.shape[-1] if isinstance(module, nn.Linear) else output.shape[1]
        macs += int((module.weight != 0).sum()) * (output.numel() // channels)

    layers = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    hooks = [module.register_forward_hook(add) for module in layers]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    nonzero = sum(int((parameter != 0).sum()) for parameter in network.parameters())
    return {"sparsity": 1 - remaining / max(1, weights_before), "nonzero_parameters": nonzero, "nonzero_macs": macs}


def check_pruning(parts: Parts) -> None:
    """Raise SettingsError where the student is to be pruned, and nothing of it can be removed."""
    student, pruning = parts.student, parts.recipes[STUDENT].pruning
    if pruning is None or units_of(student, pruning, parts.data.splits.image_shape).scores():
        return
    missing = "channels that can be removed" if pruning.structured else "convolutions and dense layers that train"
    frozen = list(parts.recipes[STUDENT].switches.freeze)
    beside = f" beside student.freeze={frozen}" if frozen else ""
    raise SettingsError(
        f"student.pruning.amount: must be 0 for a student without {missing}{beside}, got {pruning.amount:g}"
    )


def zero_channels(network: nn.Module, image_shape: Sequence[int]) -> Kept:
    """The channels of each layer that are left when those whose weights are all zero are removed."""
    groups = channel_groups(network, image_shape)
    state = network.state_dict()
    removed = []
    for group in groups:
        gone = group.norms(state) == 0
        gone[0] &= not gone.all()  # a layer without channels would cut the network in two
        removed.append(gone)
    return kept_channels(groups, removed)


def without_zero_channels(
    network: nn.Module, node: Node, image_shape: Sequence[int], name: str
) -> tuple[nn.Module, Node]:
    """The network without the channels whose weights are all zero, and the node that builds it.

    Where that would change its logits, the network stays as it is, which a note says: channels that pruning masked may
    still count behind an activation that does not keep zeros, or a layer norm.

    Args:
        node: The node that builds `network`.
        image_shape: The shape [C, H, W] of its images.
        name: The name of the network in notes.
    """
    channels = zero_channels(network, image_shape)
    if not channels:
        return network, node
    outputs, inputs = _widths(channels, "out"), _widths(channels, "in")
    smaller = narrowed(copy.deepcopy(network), outputs, inputs)
    smaller.load_state_dict(slice_channels(network.state_dict(), channels))
    images = noise(image_shape).to(next(network.parameters()).device)
    with torch.inference_mode():
        before, after = network.eval()(images), smaller.eval()(images)
    if float((before - after).abs().max()) > ROUNDING * max(1.0, float(before.abs().max())):
        note("pruning", f"the {name} keeps its removed channels as zeros: without them, it would give other logits")
        return network, node
    target = f"{narrowed.__module__}.{narrowed.__name__}"
    return smaller, {"_target_": target, "network": node, "outputs": outputs, "inputs": inputs}


def _widths(channels: Mapping[str, Mapping[Any, Tensor]], side: str) -> dict[str, int]:
    return {layer: len(sides[side]) for layer, sides in channels.items() if side in sides}
