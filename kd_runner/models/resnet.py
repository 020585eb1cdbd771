"""Residual networks for small images, by depth.

He et al. 2015, section 4.2, arXiv:1512.03385, with projection shortcuts where the size changes: the form
that the published distillation tables train.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first convolution strides.

    It ends in `relu2`, whose input is the block's pre-activation.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        return self.relu2(residual + self.downsample(maps))


class ResNet(nn.Module):
    """Logits [N, num_classes] of images [N, C, H, W]; layers conv1, layer1, layer2, layer3, fc.

    Args:
        depth: Number of layers, 6n+2: three stages of n blocks of two convolutions, the first convolution and the
            classifier.
        widths: Channels of the first convolution and of the three stages.

    Raises:
        ValueError: a depth that is not 6n+2, or not four widths.
    """

    def __init__(self, num_classes: int, image_shape: Sequence[int], depth: int, widths: Sequence[int]) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n+2 (8, 14, 20, …), got {depth}")
        if len(widths) != 4 or min(widths) < 1:
            raise ValueError(f"widths must be four numbers of 1 or more, got {list(widths)}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(image_shape[0], widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.layer1 = self._stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = self._stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = self._stage(widths[2], widths[3], blocks, stride=2)
        self.fc = nn.Linear(widths[3], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        same_width = [BasicBlock(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(BasicBlock(inputs, width, stride), *same_width)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return self.fc(maps.mean((2, 3)))
