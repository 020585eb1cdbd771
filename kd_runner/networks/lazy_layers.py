"""Layers of PyTorch's that learn the size of their input from the first images, such as `nn.LazyLinear`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy


def settle_lazy_layers(network: nn.Module, image_shape: Sequence[int]) -> None:
    """Give lazy layers their sizes and first weights, by one pass in evaluation mode. Other networks stay untouched.

    Args:
        image_shape: [C, H, W] of the images that the network takes.

    Raises:
        Exception: whatever the network raises for such images.
    """
    if not any(map(is_lazy, itertools.chain(network.parameters(), network.buffers()))):
        return
    modes = {module: module.training for module in network.modules()}
    with torch.no_grad():
        network.eval()(torch.zeros(2, *image_shape))
    for module, training in modes.items():
        module.training = training
