"""ShuffleNet for small images, in the form that the published distillation tables train.

Zhang et al. 2017, arXiv:1707.01083, table 1, behind a 1x1 convolution that does not stride, and with a ReLU behind the
3x3 convolutions as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STEM = 24
BLOCKS = (4, 8, 4)
# Channels of the first stage by groups; each following stage has twice as many. The paper also has 4 and 8 groups. They
# do not divide the inner width of the first block, a quarter of the channels that it adds to the stem's.
WIDTHS = {1: 144, 2: 200, 3: 240}


class GroupedBlock(nn.Module):
    """Grouped 1x1 convolution, 3x3 on each channel, grouped 1x1; it ends in `relu3`.

    Where it strides, it appends its maps to the averaged incoming maps; elsewhere it adds them.
    """

    def __init__(self, inputs: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        added = width - inputs if stride == 2 else width
        inner = added // 4
        # The few channels of the stem are not cut into groups (section 3.2 of the paper).
        first = 1 if inputs == STEM else groups
        self.conv1 = nn.Conv2d(inputs, inner, 1, groups=first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(first) if first > 1 else nn.Identity()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(inner, added, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(added)
        self.pool = nn.AvgPool2d(3, 2, padding=1) if stride == 2 else None
        self.relu3 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.shuffle(self.relu1(self.bn1(self.conv1(maps))))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        if self.pool is None:
            return self.relu3(residual + maps)
        return self.relu3(torch.cat([residual, self.pool(maps)], 1))


class ShuffleNetV1(nn.Module):
    """Logits [N, num_classes] of images [N, C, H, W]; layers conv1, layer1, layer2, layer3, fc.

    The maps shrink by 8.

    Args:
        groups: Groups of the 1x1 convolutions: 1, 2 or 3.

    Raises:
        ValueError: a number of groups that is not 1, 2 or 3.
    """

    def __init__(self, num_classes: int, image_shape: Sequence[int], groups: int) -> None:
        super().__init__()
        if groups not in WIDTHS:
            raise ValueError(f"groups must be one of {', '.join(map(str, WIDTHS))}, got {groups}")
        width = WIDTHS[groups]
        self.conv1 = nn.Conv2d(image_shape[0], STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(STEM, width, BLOCKS[0], groups)
        self.layer2 = self._stage(width, 2 * width, BLOCKS[1], groups)
        self.layer3 = self._stage(2 * width, 4 * width, BLOCKS[2], groups)
        self.fc = nn.Linear(4 * width, num_classes)

    @staticmethod
    def _stage(inputs: int, width: int, blocks: int, groups: int) -> nn.Sequential:
        same_width = [GroupedBlock(width, width, 1, groups) for _ in range(blocks - 1)]
        return nn.Sequential(GroupedBlock(inputs, width, 2, groups), *same_width)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return self.fc(maps.mean((2, 3)))
