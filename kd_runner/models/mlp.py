"""Multilayer perceptrons on the flattened image."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn


def mlp(
    num_classes: int, image_shape: Sequence[int], hidden: Sequence[int], dropout: tuple[float, float] | None = None
) -> nn.Sequential:
    """Dense layers with ReLU on images [N, C, H, W], then logits [N, num_classes].

    Args:
        image_shape: (channels, height, width) of the images.
        hidden: Widths of the dense layers, each 1 or more; without any, one dense layer gives the logits.
        dropout: Shares of the pixels and of each hidden layer's values that are set to zero in training, in [0, 1);
            None for no dropout. Hinton et al. 2012 (arXiv:1207.0580) have 0.2 and 0.5.

    Raises:
        ValueError: a width below 1, or a share outside its range.
    """
    if any(width < 1 for width in hidden):
        raise ValueError(f"hidden must hold widths of 1 or more, got {list(hidden)}")
    if dropout is not None and not all(0 <= share < 1 for share in dropout):
        raise ValueError(f"dropout must hold two shares of 0 or more and below 1, got {list(dropout)}")
    of_pixels, of_hidden = dropout or (0.0, 0.0)
    layers: list[nn.Module] = [nn.Flatten(), *_dropout(of_pixels)]
    inputs = math.prod(image_shape)
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU(), *_dropout(of_hidden)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, num_classes))


def _dropout(share: float) -> list[nn.Module]:
    """A layer for a share above 0; without it, the others keep the names that saved weights have."""
    return [nn.Dropout(share)] if share else []
