"""MobileNetV2 for small images, in the form that the published distillation tables train.

Sandler et al. 2018, arXiv:1801.04381, table 2, with three differences: the second stage does not stride, so that
32 pixels become 2 and not 1; ReLU takes ReLU6's place; and the first block, too, has the convolution that expands.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

# (expands, channels at width 1, blocks, stride of the first block) for each stage
STAGES = (
    (False, 16, 1, 1),
    (True, 24, 2, 1),
    (True, 32, 3, 2),
    (True, 64, 4, 2),
    (True, 96, 3, 1),
    (True, 160, 3, 2),
    (True, 320, 1, 1),
)


def _conv_and_norm(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """1x1 convolution to `inner` channels, 3x3 on each of them, 1x1 to `width`; a shortcut where shapes allow it."""

    def __init__(self, inputs: int, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == width
        self.layers = nn.Sequential(
            *_conv_and_norm(inputs, inner, 1),
            nn.ReLU(),
            *_conv_and_norm(inner, inner, 3, stride, groups=inner),
            nn.ReLU(),
            *_conv_and_norm(inner, width, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps) if self.shortcut else self.layers(maps)


class MobileNetV2(nn.Module):
    """Logits [N, num_classes] of images [N, C, H, W]; layers conv1, stages.0 to stages.6, conv2, fc.

    The maps shrink by 16. A stage ends in a sum or in a batch norm, without a ReLU.

    Args:
        width: Factor of the channels of every stage, 1/16 or more; below 1, the classifier still has 1,280 inputs.
        expansion: Factor by which a block is wider inside, from the second stage on, 1 or more.

    Raises:
        ValueError: a width that leaves a stage without channels, or an expansion below 1.
    """

    def __init__(self, num_classes: int, image_shape: Sequence[int], width: float, expansion: int) -> None:
        super().__init__()
        if width < 1 / 16:
            raise ValueError(f"width must be at least 1/16, which leaves one channel, got {width}")
        if expansion < 1:
            raise ValueError(f"expansion must be 1 or more, got {expansion}")
        inputs = int(32 * width)
        self.conv1 = nn.Sequential(*_conv_and_norm(image_shape[0], inputs, 3, stride=2), nn.ReLU())
        self.stages = nn.Sequential()
        for expands, channels, blocks, first_stride in STAGES:
            outputs = int(channels * width)
            stage = nn.Sequential()
            for number in range(blocks):
                inner = inputs * expansion if expands else inputs
                stage.append(InvertedResidual(inputs, inner, outputs, first_stride if number == 0 else 1))
                inputs = outputs
            self.stages.append(stage)
        last = int(1280 * max(1.0, width))
        self.conv2 = nn.Sequential(*_conv_and_norm(inputs, last, 1), nn.ReLU())
        self.fc = nn.Linear(last, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv2(self.stages(self.conv1(images))).mean((2, 3)))
