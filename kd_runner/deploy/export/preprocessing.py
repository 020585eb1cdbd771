"""The step from a picture's bytes to logits as one network: whoever runs the file need not resize and normalise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kd_runner.deploy.export.resizing import Resized
from kd_runner.input_pipeline.view import View

Layout = Literal["nhwc", "nchw"]


class Preprocessed(nn.Module):
    """Bytes uint8 of 0 to 255 to logits [N, K]: normalised as `View.normalise` does, then through the network.

    Args:
        layout: Order of the bytes: nhwc [N, H, W, C], as files are decoded, or nchw [N, C, H, W].
        size: Height and width that pictures of any size are resized and cut to; None: they have the network's.
        shorter: The pixels that the shorter side of such a picture is resized to, as in `Resized`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        layout: Layout,
        size: tuple[int, int] | None = None,
        shorter: int | None = None,
    ) -> None:
        super().__init__()
        self.resized = None if size is None else Resized(*size, shorter)
        self.network, self.layout = network, layout
        means, deviations = torch.tensor(mean), torch.tensor(std)
        shape = (1, -1, 1, 1)
        self.register_buffer("scale", (1 / (255 * deviations)).view(shape), persistent=False)
        self.register_buffer("shift", (means / deviations).view(shape), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.layout == "nhwc":
            images = images.permute(0, 3, 1, 2)
        values = images.float() if self.resized is None else self.resized(images)
        logits: Tensor = self.network(values * self.scale - self.shift)
        return logits


def in_pictures(images: Tensor, shorter: int | None) -> Tensor:
    """Pictures uint8 [N, S, S, C] that `Resized` cuts to just these images, uint8 [N, H, W, C].

    Args:
        shorter: S, the pixels that a picture's shorter side is resized to; None: images are such pictures themselves.
    """
    if shorter is None:
        return images
    count, height, width, channels = images.shape
    top, left = round((shorter - height) / 2), round((shorter - width) / 2)
    pictures = images.new_zeros(count, shorter, shorter, channels)
    pictures[:, top : top + height, left : left + width] = images
    return pictures


def input_of(images: Tensor, mean: Sequence[float], std: Sequence[float], layout: Layout | None) -> Tensor:
    """The input of an exported file for `images`, uint8 [N, H, W, C].

    Args:
        layout: Order of the bytes that the file takes; None: it takes normalised images, float32 [N, C, H, W].
    """
    if layout is None:
        return View(torch.tensor(mean), torch.tensor(std)).normalise(images)
    return images if layout == "nhwc" else images.permute(0, 3, 1, 2).contiguous()
