"""The channels of a network that belong together: a convolution's outputs, their norms, and whatever reads them.

torch-pruning finds them by following the gradients of one pass (Fang et al. 2023, "DepGraph: Towards Any Structural
Pruning", arXiv:2301.12900), through additions, concatenations and flattening. What is done with them is done here: on
a state dict, so that the network itself stays as it is.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kd_runner.errors import SettingsError

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
BATCH_NORM = nn.modules.batchnorm._BatchNorm
INSTALL = 'must have torch-pruning installed (pip install "kd-runner[pruning]")'

State = Mapping[str, Tensor]
Side = Literal["out", "in"]
SIDES: tuple[Side, Side] = ("out", "in")  # of the first two dimensions of a weight
Kept = dict[str, dict[Side, Tensor]]  # by layer and side, the numbers of the channels that are kept, in their order


@dataclass(frozen=True)
class Part:
    """The channels of a group in one layer.

    Args:
        layer: The layer's name.
        side: 'out' for what it gives, or for a norm or a depthwise convolution; 'in' for what it reads.
        rows: int64 [n], the numbers of the layer's channels.
        channels: int64 [n], the number within the group of each of them.
        size: The number of channels that the layer has on this side.
    """

    layer: str
    side: Side
    rows: Tensor
    channels: Tensor
    size: int


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together, in all layers of `parts`.

    Args:
        size: The number of channels.
    """

    size: int
    parts: tuple[Part, ...]

    def norms(self, state: State) -> Tensor:
        """Sum of the absolute values of the weights that make each channel [size].

        The L1 norm of filters (Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710); of layers
        whose outputs are added, the sum of theirs.
        """
        norms = None
        for part in self.parts:
            weight = state.get(f"{part.layer}.weight")
            if part.side == "out" and weight is not None and weight.dim() > 1:
                rows = weight.detach().abs().flatten(1).sum(1)
                norms = rows.new_zeros(self.size) if norms is None else norms
                norms.index_add_(0, part.channels.to(rows.device), rows[part.rows.to(rows.device)])
        assert norms is not None
        return norms


def refuse_missing_library(key: str) -> None:
    """Raise SettingsError, with the `key` of the setting that needs it, where torch-pruning cannot be imported."""
    try:
        import torch_pruning  # noqa: F401
    except ImportError as error:
        raise SettingsError(f"{key}: {INSTALL}") from error


def channel_groups(network: nn.Module, image_shape: Sequence[int]) -> list[ChannelGroup]:
    """The groups of channels of a network that can be removed: not the classes, and no part of a grouped convolution.

    Args:
        image_shape: The shape [C, H, W] of the images.
    """
    import torch_pruning

    network = copy.deepcopy(network).cpu().eval().requires_grad_(True)
    names = {module: name for name, module in network.named_modules()}
    images = torch.zeros(1, *image_shape)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=images)
        library_groups = list(graph.get_all_groups(root_module_types=WEIGHTED))
    head = _head(network, images)
    groups = []
    for group in library_groups:
        # What else is in a group are operations between the layers.
        items = [item for item in group if _is_of_network(item.dep.target.module, names)]
        parts = [part for item in items if (part := _part(graph, item, names)) is not None]
        if len(parts) == len(items) and not any(part.side == "out" and part.layer == head for part in parts):
            groups.append(ChannelGroup(len(group[0].idxs), tuple(parts)))
    return groups


def _is_of_network(module: nn.Module | Tensor, names: Mapping[nn.Module, str]) -> bool:
    """True for a layer of the network, and for a parameter that it uses by itself."""
    return isinstance(module, Tensor) or module in names


def _part(graph: Any, item: Any, names: Mapping[nn.Module, str]) -> Part | None:
    """The part of a group that one layer is; None for a layer of which channels cannot be removed here."""
    module = item.dep.target.module
    if not isinstance(module, (*WEIGHTED, BATCH_NORM)) or None in item.root_idxs:
        return None
    groups = getattr(module, "groups", 1)
    is_depthwise = groups > 1 and groups == module.in_channels == module.out_channels
    if groups > 1 and not is_depthwise:
        return None
    is_out = isinstance(module, BATCH_NORM) or is_depthwise or graph.is_out_channel_pruning_fn(item.dep.handler)
    side: Side = "out" if is_out else "in"
    rows, channels = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
    return Part(names[module], side, rows, channels, _size(module, side))


def _size(module: Any, side: Side) -> int:
    if isinstance(module, BATCH_NORM):
        return int(module.num_features)
    kind = "features" if isinstance(module, nn.Linear) else "channels"
    return int(getattr(module, f"{side}_{kind}"))


def head_of(network: nn.Module, image_shape: Sequence[int]) -> str | None:
    """The name of the layer that gives the logits: the last one with weights and as many channels as classes."""
    return _head(copy.deepcopy(network).cpu().eval(), torch.zeros(1, *image_shape))


def _head(network: nn.Module, images: Tensor) -> str | None:
    """The name of the layer that gives the logits, for a network in evaluation mode on the CPU."""
    last: list[str] = []

    def note_layer(name: str) -> Any:
        return lambda module, inputs, output: last.append(name)

    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, WEIGHTED)]
    hooks = [module.register_forward_hook(note_layer(name)) for name, module in layers]
    with torch.no_grad():
        num_classes = network(images).shape[1]
    for hook in hooks:
        hook.remove()
    sizes = {name: _size(module, "out") for name, module in layers}
    return next((name for name in reversed(last) if sizes[name] == num_classes), None)


def kept_channels(groups: Sequence[ChannelGroup], removed: Sequence[Tensor]) -> Kept:
    """The channels of each layer that are left when channels are removed from groups.

    Args:
        removed: Masks of the channels that are removed, bool [size], one for each group.
    """
    masks: dict[tuple[str, Side], Tensor] = {}
    for group, gone in zip(groups, removed, strict=True):
        gone = gone.cpu()
        for part in group.parts if gone.any() else ():
            mask = masks.setdefault((part.layer, part.side), torch.ones(part.size, dtype=torch.bool))
            mask[part.rows[gone[part.channels]]] = False
    kept_indices: Kept = {}
    for (layer, side), mask in masks.items():
        kept_indices.setdefault(layer, {})[side] = mask.nonzero().flatten()
    return kept_indices


def slice_channels(state: State, channels: Kept) -> dict[str, Tensor]:
    """A state dict with the channels of `kept_channels` alone."""
    result = {}
    for name, tensor in state.items():
        sides = channels.get(name.rpartition(".")[0], {})
        if tensor.dim() > 0 and "out" in sides:
            tensor = tensor.index_select(0, sides["out"].to(tensor.device))
        if tensor.dim() > 1 and "in" in sides:
            tensor = tensor.index_select(1, sides["in"].to(tensor.device))
        result[name] = tensor.detach().clone()
    return result


def masks_of(groups: Sequence[ChannelGroup], removed: Sequence[Tensor], state: State) -> dict[str, Tensor]:
    """Masks of the parameters in `state` that are zero in removed channels, and wherever those are read."""
    masks = {}
    channels = kept_channels(groups, removed)
    for name, tensor in state.items():
        sides = channels.get(name.rpartition(".")[0], {})
        mask = torch.ones_like(tensor)
        for dimension, side in enumerate(SIDES):
            if side in sides and tensor.dim() > dimension:
                rows = torch.zeros(tensor.shape[dimension], device=tensor.device, dtype=tensor.dtype)
                rows[sides[side].to(tensor.device)] = 1
                mask *= rows.view([-1 if number == dimension else 1 for number in range(tensor.dim())])
        if sides:
            masks[name] = mask
    return masks
