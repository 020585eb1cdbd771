"""Multilayer perceptrons on the flattened image."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn


def mlp(num_classes: int, image_shape: Sequence[int], hidden: Sequence[int]) -> nn.Sequential:
    """Dense layers with ReLU on images [N, C, H, W], then logits [N, num_classes].

    Args:
        image_shape: (channels, height, width) of the images.
        hidden: Widths of the dense layers, each 1 or more; without any, one dense layer gives the logits.

    Raises:
        ValueError: a width below 1.
    """
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden must hold widths of 1 or more, got {list(hidden)}")
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(image_shape)
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, num_classes))
