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
        channels: Output channels of each convolution.
        hidden: Widths of the dense layers between the flattened maps and the logits.
        padding: 1 keeps the map's size, 0 takes a pixel off each side ('valid').
        pool: How many of the first convolutions are followed by 2x2 max-pooling.
        batch_norm: Normalise after each convolution (whose bias is then left out).

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
    width, height, breadth = image_shape
    for number, out in enumerate(channels):
        layers.append(nn.Conv2d(width, out, 3, padding=padding, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out))
        height, breadth = (side - 2 + 2 * padding for side in (height, breadth))
        if number < pool:
            # Before the ReLU: the same values and gradients as behind it, with a quarter of the ReLUs.
            layers.append(nn.MaxPool2d(2))
            height, breadth = height // 2, breadth // 2
        layers.append(nn.ReLU())
        if height < 1 or breadth < 1:
            raise ValueError(f"an image of {list(image_shape)} has shrunk to nothing after convolution {number + 1}")
        width = out
    layers.append(nn.Flatten())
    inputs = width * height * breadth
    for out in hidden:
        layers += [nn.Linear(inputs, out), nn.ReLU()]
        inputs = out
    return nn.Sequential(*layers, nn.Linear(inputs, num_classes))
