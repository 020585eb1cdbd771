"""Plain convolutional networks: 3x3 convolutions, optional max-pooling, dense layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def plain_cnn(
    num_classes: int,
    image_shape: Sequence[int],
    channels: Sequence[int],
    hidden: Sequence[int] = (),
    padding: int = 1,
    pool: int = 0,
    batch_norm: bool = False,
) -> nn.Sequential:
    """3x3 convolutions with ReLU, then dense layers with ReLU, then logits [N, num_classes].

    Args:
        image_shape: (channels, height, width) of the images.
        channels: Output channels of each convolution, 1 or more.
        hidden: Widths of the dense layers between the flattened maps and the logits, 1 or more.
        padding: 1 keeps the size of the maps, 0 takes a pixel off each side ('valid').
        pool: Number of convolutions, from the first on, that are followed by 2x2 max-pooling.
        batch_norm: True puts batch norm behind each convolution, which then has no bias.

    Raises:
        ValueError: a width below 1, padding not 0 or 1, more pools than convolutions, or maps that shrink to nothing.
    """
    if any(width < 1 for width in (*channels, *hidden)):
        raise ValueError(f"channels and hidden must all be 1 or more, got {list(channels)} and {list(hidden)}")
    if padding not in (0, 1):
        raise ValueError(f"padding must be 0 or 1, got {padding}")
    if not 0 <= pool <= len(channels):
        raise ValueError(f"pool must be between 0 and the number of convolutions ({len(channels)}), got {pool}")
    layers: list[nn.Module] = []
    inputs, height, width = image_shape
    for number, outputs in enumerate(channels):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=padding, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        height, width = (side - 2 + 2 * padding for side in (height, width))
        if number < pool:
            # In front of the ReLU: the same values and gradients as behind it, for a quarter of the numbers.
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        layers.append(nn.ReLU())
        if height < 1 or width < 1:
            raise ValueError(f"an image of {list(image_shape)} has shrunk to nothing after convolution {number + 1}")
        inputs = outputs
    layers.append(nn.Flatten())
    inputs *= height * width
    for outputs in hidden:
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, num_classes))
