"""The step from a picture's bytes to logits as one network, so that whoever runs the file needs no mean and std."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kd_runner.input_pipeline.view import View

Layout = Literal["nhwc", "nchw"]


class Preprocessed(nn.Module):
    """Bytes uint8 of 0 to 255 to logits [N, K]: normalised as `View.normalise` does, then through the network.

    Pictures must have the network's height, width and channels: how they are resized and cut stands in the metadata.

    Args:
        layout: Order of the bytes: nhwc [N, H, W, C], as files are decoded, or nchw [N, C, H, W].
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], layout: Layout) -> None:
        super().__init__()
        self.network, self.layout = network, layout
        means, deviations = torch.tensor(mean), torch.tensor(std)
        shape = (1, -1, 1, 1)
        self.register_buffer("scale", (1 / (255 * deviations)).view(shape), persistent=False)
        self.register_buffer("shift", (means / deviations).view(shape), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.layout == "nhwc":
            images = images.permute(0, 3, 1, 2)
        logits: Tensor = self.network(images.float() * self.scale - self.shift)
        return logits


def input_of(images: Tensor, mean: Sequence[float], std: Sequence[float], layout: Layout | None) -> Tensor:
    """The input of an exported file for `images`, uint8 [N, H, W, C].

    Args:
        layout: Order of the bytes that the file takes; None: it takes normalised images, float32 [N, C, H, W].
    """
    if layout is None:
        return View(torch.tensor(mean), torch.tensor(std)).normalise(images)
    return images if layout == "nhwc" else images.permute(0, 3, 1, 2).contiguous()
