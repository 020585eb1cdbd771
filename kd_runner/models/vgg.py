"""VGG networks: torchvision's own for large images, a form with one dense layer for small ones.

Simonyan and Zisserman 2014, arXiv:1409.1556.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models import vgg as published

# Convolutions in each of the five stages, whose widths are 64, 128, 256, 512, 512 (table 1 of the paper; depth 8 is
# the smallest student of the published distillation tables).
CONVOLUTIONS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def vgg(
    num_classes: int, image_shape: Sequence[int], depth: int = 16, batch_norm: bool = True, poolings: int = 5
) -> nn.Module:
    """A network that gives logits [N, num_classes] for images [N, C, H, W].

    For images of 64 pixels or more this is torchvision's network (three dense layers, 138 million parameters at
    depth 16 and 1,000 classes). For smaller images the maps are averaged and one dense layer follows: the usual form
    for CIFAR, where the published classifier would hold nine tenths of the weights. Depth 8, which the paper does not
    have, and fewer than five poolings always give the second form.

    Args:
        depth: Number of layers with weights: 8, 11, 13, 16 or 19.
        batch_norm: True puts batch norm behind each convolution.
        poolings: Number of stages, of five, that end in max-pooling, where there are two pixels to pool. The published
            distillation tables train networks with 3 (4 for images of 64 pixels), whose last maps of CIFAR are 4x4.

    Raises:
        ValueError: an unknown depth, or a number of poolings that is not 0 to 5.
    """
    if depth not in CONVOLUTIONS:
        raise ValueError(f"depth must be one of {', '.join(map(str, CONVOLUTIONS))}, got {depth}")
    if not 0 <= poolings <= len(WIDTHS):
        raise ValueError(f"poolings must be between 0 and {len(WIDTHS)}, got {poolings}")
    if min(image_shape[1:]) >= 64 and poolings == len(WIDTHS) and depth != 8:
        network = getattr(published, f"vgg{depth}{'_bn' if batch_norm else ''}")(num_classes=num_classes)
        if image_shape[0] != 3:
            network.features[0] = nn.Conv2d(image_shape[0], 64, 3, padding=1)
        return network
    layers: list[nn.Module] = []
    inputs, side = image_shape[0], min(image_shape[1:])
    for stage, (width, convolutions) in enumerate(zip(WIDTHS, CONVOLUTIONS[depth], strict=True)):
        for _ in range(convolutions):
            layers.append(nn.Conv2d(inputs, width, 3, padding=1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
            inputs = width
        if stage < poolings and side >= 2:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
