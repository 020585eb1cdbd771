"""Wide residual networks for small images.

Zagoruyko and Komodakis 2016, arXiv:1605.07146, without dropout: batch norm and ReLU come before each convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class PreactivationBlock(nn.Module):
    """Two 3x3 convolutions behind batch norm and ReLU, and a shortcut; the first convolution strides.

    Where the width changes, the shortcut is a 1x1 convolution of the normalised maps, not of the incoming ones.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.downsample = nn.Conv2d(inputs, width, 1, stride, bias=False) if inputs != width else None

    def forward(self, maps: Tensor) -> Tensor:
        active = self.relu1(self.bn1(maps))
        residual = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return residual + (maps if self.downsample is None else self.downsample(active))


class WideResNet(nn.Module):
    """Logits [N, num_classes] of images [N, C, H, W]; layers conv1, layer1, layer2, layer3, relu, fc.

    A stage ends in a sum: its output is its pre-activation, and the ReLU belongs to the next stage.

    Args:
        depth: Number of layers, 6n+4: three stages of n blocks of two convolutions, the first convolution, two
            shortcuts and the classifier.
        widen_factor: Factor of the stages' 16, 32 and 64 channels, 1 or more.

    Raises:
        ValueError: a depth that is not 6n+4, or a factor below 1.
    """

    def __init__(self, num_classes: int, image_shape: Sequence[int], depth: int, widen_factor: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6n+4 (10, 16, 22, …), got {depth}")
        if widen_factor < 1:
            raise ValueError(f"widen_factor must be 1 or more, got {widen_factor}")
        blocks = (depth - 4) // 6
        widths = [16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.conv1 = nn.Conv2d(image_shape[0], 16, 3, padding=1, bias=False)
        self.layer1 = self._stage(16, widths[0], blocks, stride=1)
        self.layer2 = self._stage(widths[0], widths[1], blocks, stride=2)
        self.layer3 = self._stage(widths[1], widths[2], blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.relu = nn.ReLU()
        self.fc = nn.Linear(widths[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    @staticmethod
    def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        same_width = [PreactivationBlock(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(PreactivationBlock(inputs, width, stride), *same_width)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        return self.fc(self.relu(self.bn1(maps)).mean((2, 3)))
