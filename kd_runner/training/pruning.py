"""Weights that are set to zero while a network trains, more and more of them, and stay there.

The masks are the network's own zeros: after every step of the optimizer the weights are multiplied by them, so that
neither momentum nor weight decay moves a removed weight. torch.nn.utils.prune would put 'weight_orig' and a mask in the
place of each weight, and with that change what is saved, resumed and exported; tests compare the masks with its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kd_runner.config.sections import PruningSettings
from kd_runner.errors import RunFailed
from kd_runner.networks.channels import WEIGHTED, ChannelGroup, channel_groups, masks_of


@dataclass(frozen=True)
class Pruning:
    """The share of a network that is removed, and the schedule of that.

    Gradual pruning with a cubic schedule (Zhu and Gupta 2017, "To prune, or not to prune", arXiv:1710.01878, equation
    1, from no zeros): amount · (1 − (1 − t)³), where t goes from 0 at `start` to 1 at `end` in `times` equal steps.

    Args:
        amount: The share of the weights, or of the channels, that is zero in the end, above 0 and below 1.
        scope: 'global' to remove the smallest of the network, 'layer' for the same share of every layer.
        structured: True to remove whole channels, by the L1 norm of the weights that make them.
        start, end: Shares of the stage, in [0, 1].
        times: The number of times at which weights are removed, 1 or more.
    """

    amount: float
    scope: str = "layer"
    structured: bool = False
    start: float = 0.0
    end: float = 0.75
    times: int = 100

    @classmethod
    def of(cls, settings: PruningSettings) -> Pruning | None:
        """The pruning that settings ask for; None for none."""
        return cls(**settings.model_dump()) if settings.amount else None

    def time_at(self, progress: float) -> int:
        """The number of the `times` that have come when `progress`, a share of the stage, is done."""
        if progress < self.start:
            return 0
        if progress >= self.end:
            return self.times
        # A step that lies on the time itself must not miss it by rounding.
        return int((progress - self.start) / (self.end - self.start) * self.times + 1e-9)

    def share_after(self, time: int) -> float:
        """The share that is removed after `time` of the `times`."""
        return self.amount * (1 - (1 - time / self.times) ** 3)

    def is_done(self, progress: float) -> bool:
        """True where all that is to be removed has been."""
        return self.time_at(progress) == self.times

    def at_once(self) -> Pruning:
        """A pruning of the same amount before the first step: for a stage that goes on with a pruned network."""
        return Pruning(self.amount, self.scope, self.structured, 0.0, 0.0, 1)


def choose(
    scores: Sequence[Tensor], removed: Sequence[Tensor], share: float, scope: str, fewest: int = 0
) -> list[Tensor]:
    """Masks of what is removed, bool as `scores`: what has been removed before, and then the lowest scores.

    round(share · all) are removed, of the network or of each layer by `scope`.

    Args:
        scores: A score for each of a layer's weights or channels, 0 or more, by layer.
        removed: Masks of what has been removed so far, bool of the same shapes.
        fewest: The number of weights or channels that each layer keeps at least.
    """
    ranked = [torch.where(gone, -1.0, score.float()) for score, gone in zip(scores, removed, strict=True)]
    if scope == "layer":
        counts = [min(round(share * score.numel()), score.numel() - fewest) for score in ranked]
        return [_lowest(score, count) for score, count in zip(ranked, counts, strict=True)]
    if fewest:
        for score in ranked:
            score[score.topk(fewest).indices] = torch.inf
    sizes = [score.numel() for score in ranked]
    count = min(round(share * sum(sizes)), sum(sizes) - fewest * len(sizes))
    return list(_lowest(torch.cat(ranked), count).split(sizes))


def _lowest(scores: Tensor, count: int) -> Tensor:
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    chosen[scores.topk(count, largest=False).indices] = True
    return chosen


class Units(Protocol):
    """The parts of a network that can be removed: single weights, or channels."""

    fewest: int

    def scores(self) -> list[Tensor]:
        """The score of each, by layer."""

    def masks(self, removed: Sequence[Tensor]) -> dict[str, Tensor]:
        """A mask, of ones and zeros, of each parameter that has zeros."""


class _Weights:
    """The weights of all convolutions and dense layers that train."""

    fewest = 0

    def __init__(self, network: nn.Module) -> None:
        self.parameters = prunable(network)

    def scores(self) -> list[Tensor]:
        return [parameter.detach().abs().flatten() for parameter in self.parameters.values()]

    def masks(self, removed: Sequence[Tensor]) -> dict[str, Tensor]:
        return {
            name: torch.where(gone.view(parameter.shape), 0.0, torch.ones_like(parameter))
            for (name, parameter), gone in zip(self.parameters.items(), removed, strict=True)
        }


class _Channels:
    """The channels of all convolutions and dense layers that train, with what belongs to them."""

    fewest = 1  # a layer without channels would cut the network in two

    def __init__(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        self.network, self.groups = network, groups

    def scores(self) -> list[Tensor]:
        state = dict(self.network.named_parameters())
        norms = [group.norms(state) for group in self.groups]
        # Layers with more weights for a channel have larger sums: what counts is a channel's part of its layer.
        return [norm / norm.mean().clamp(min=torch.finfo(norm.dtype).tiny) for norm in norms]

    def masks(self, removed: Sequence[Tensor]) -> dict[str, Tensor]:
        state = {name: parameter.detach() for name, parameter in self.network.named_parameters()}
        return masks_of(self.groups, removed, state)


def prunable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of convolutions and dense layers that train, by name, each once."""
    weights: dict[int, tuple[str, nn.Parameter]] = {}
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED) and isinstance(module.weight, nn.Parameter) and module.weight.requires_grad:
            weights.setdefault(id(module.weight), (f"{name}.weight" if name else "weight", module.weight))
    return dict(weights.values())


def groups_that_train(network: nn.Module, groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
    """The groups without those that a frozen layer is in: its weights stay, so that it gives and reads all channels."""
    frozen = {
        name
        for name, layer in network.named_modules()
        if not all(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    }
    return [group for group in groups if not any(part.layer in frozen for part in group.parts)]


def units_of(network: nn.Module, pruning: Pruning, image_shape: Sequence[int]) -> Units:
    """The parts of a network that `pruning` can remove, none of them of a frozen layer.

    Args:
        image_shape: The shape [C, H, W] of its images, by which the channels that belong together are found.
    """
    if not pruning.structured:
        return _Weights(network)
    return _Channels(network, groups_that_train(network, channel_groups(network, image_shape)))


class Pruner:
    """Removes weights of a network while it trains.

    Args:
        network: The network, on the device where it trains.
        image_shape: The shape [C, H, W] of its images, by which the channels that belong together are found.
    """

    def __init__(self, network: nn.Module, pruning: Pruning, image_shape: Sequence[int]) -> None:
        self.pruning, self.time = pruning, 0
        self.units = units_of(network, pruning, image_shape)
        self._parameters = dict(network.named_parameters())
        self.removed = [torch.zeros_like(scores, dtype=torch.bool) for scores in self.units.scores()]
        self._weights: list[Tensor] = []
        self._masks: list[Tensor] = []

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as plain data and tensors."""
        return {"time": self.time, "removed": [gone.cpu() for gone in self.removed]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; nothing of the network changes, in which the removed weights are zero.

        Raises:
            RunFailed: the state is that of an earlier version, which removed channels of frozen layers, too.
        """
        if [len(gone) for gone in state["removed"]] != [len(gone) for gone in self.removed]:
            raise RunFailed(
                "this run began with a version of kd-runner that removed channels of frozen layers, too "
                "(student.pruning.structured): start it anew"
            )
        self.time = state["time"]
        self._mask([gone.to(mask.device) for gone, mask in zip(state["removed"], self.removed, strict=True)])

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Remove what is due when `progress`, a share of the stage, is done, and keep at zero what is removed."""
        time = self.pruning.time_at(progress)
        if time != self.time:
            self.time, share = time, self.pruning.share_after(time)
            self._mask(choose(self.units.scores(), self.removed, share, self.pruning.scope, self.units.fewest))
        if self._weights:
            torch._foreach_mul_(self._weights, self._masks)

    def _mask(self, removed: list[Tensor]) -> None:
        self.removed = removed
        masks = self.units.masks(removed)
        self._weights = [self._parameters[name].detach() for name in masks]
        self._masks = list(masks.values())
