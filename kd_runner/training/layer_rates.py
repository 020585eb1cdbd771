"""Layers with learning rates of their own: smaller ones for layers that are further from the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SCALE = "lr_scale"  # the key of a group's factor on the learning rate, as timm names it


def layer_numbers(network: nn.Module) -> dict[str, int]:
    """The number of the layer, from 0 at the image, that each parameter belongs to, by the parameter's name.

    A network of timm says itself which parameters are a layer (`group_matcher`), such as a block of a transformer. In
    other networks each weight of two dimensions or more begins a layer, in the order in which the network was written;
    biases and norms belong to the layer before them.
    """
    if hasattr(network, "group_matcher"):
        from timm.models import group_parameters

        of_timm: Any = network
        numbers: dict[str, int] = group_parameters(network, of_timm.group_matcher(coarse=False), reverse=True)
        return numbers
    numbers, number = {}, -1
    for name, parameter in network.named_parameters():
        number += parameter.dim() > 1
        numbers[name] = max(number, 0)
    return numbers


def groups_by_layer(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """The parameters that train, in groups for the optimizer: each with its factor on the learning rate, `SCALE`.

    The last layer has the factor 1 and comes first; each layer before it has that of the next times `decay` (BEiT, Bao
    et al. 2021, arXiv:2106.08254), with the factors of timm's `param_groups_layer_decay`.
    """
    numbers = layer_numbers(network)
    last = max(numbers.values())
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(numbers.get(name, last), []).append(parameter)
    return [{"params": groups[number], SCALE: decay ** (last - number)} for number in sorted(groups, reverse=True)]


def scale_rates(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer, with the rate of each group that has a factor multiplied by it."""
    for group in optimizer.param_groups:
        if SCALE in group:
            group["lr"] = group["lr"] * group[SCALE]
    return optimizer
