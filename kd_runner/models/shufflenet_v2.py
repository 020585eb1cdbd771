"""ShuffleNetV2 for small images, in the form that the published distillation tables train.

Ma et al. 2018, arXiv:1807.11164, table 5, behind a 1x1 convolution that does not stride and without max-pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STEM = 24
BLOCKS = (4, 8, 4)
WIDTHS = {0.5: (48, 96, 192, 1024), 1: (116, 232, 464, 1024), 1.5: (176, 352, 704, 1024), 2: (244, 488, 976, 2048)}


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _depthwise(width: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False), nn.BatchNorm2d(width)]


class SplitBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions of one half of the channels; then the two halves are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(*_pointwise(half, half), *_depthwise(half, 1), *_pointwise(half, half))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, maps: Tensor) -> Tensor:
        first_half, second_half = maps.chunk(2, 1)
        return self.shuffle(torch.cat([first_half, self.branch(second_half)], 1))


class DownBlock(nn.Module):
    """Two branches of all channels, which stride; each gives a half of the new channels."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.short = nn.Sequential(*_depthwise(inputs, 2), *_pointwise(inputs, half))
        self.branch = nn.Sequential(*_pointwise(inputs, half), *_depthwise(half, 2), *_pointwise(half, half))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.shuffle(torch.cat([self.short(maps), self.branch(maps)], 1))


class ShuffleNetV2(nn.Module):
    """Logits [N, num_classes] of images [N, C, H, W]; layers conv1, layer1, layer2, layer3, conv2, fc.

    The maps shrink by 8.

    Args:
        size: Scale of the widths in the paper: 0.5, 1, 1.5 or 2.

    Raises:
        ValueError: another size.
    """

    def __init__(self, num_classes: int, image_shape: Sequence[int], size: float) -> None:
        super().__init__()
        if size not in WIDTHS:
            raise ValueError(f"size must be one of {', '.join(map(str, WIDTHS))}, got {size}")
        first, second, third, last = WIDTHS[size]
        self.conv1 = nn.Sequential(*_pointwise(image_shape[0], STEM))
        self.layer1 = self._stage(STEM, first, BLOCKS[0])
        self.layer2 = self._stage(first, second, BLOCKS[1])
        self.layer3 = self._stage(second, third, BLOCKS[2])
        self.conv2 = nn.Sequential(*_pointwise(third, last))
        self.fc = nn.Linear(last, num_classes)

    @staticmethod
    def _stage(inputs: int, width: int, blocks: int) -> nn.Sequential:
        return nn.Sequential(DownBlock(inputs, width), *(SplitBlock(width) for _ in range(blocks - 1)))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        return self.fc(self.conv2(maps).mean((2, 3)))
