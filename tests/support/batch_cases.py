"""Small random images, and the splits, sources and views that tests of the input pipeline make of them."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_runner.datasets.splits import Split
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.input_pipeline.view import View

CPU = torch.device("cpu")


def images(count: int, channels: int = 3, side: int = 8) -> Tensor:
    """uint8 [N, C, H, W]"""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def view(augmentation: Augmentation = Augmentation(), channels: int = 3) -> View:  # noqa: B008
    return View(torch.full((channels,), 0.5), torch.full((channels,), 0.25), augmentation)


def split(count: int) -> Split:
    return Split(images(count), torch.arange(count) % 4)


def source(count: int) -> MemorySource:
    return MemorySource(split(count), CPU, CPU)


def channels_last(planar: Tensor) -> Tensor:
    return planar.permute(0, 2, 3, 1)


def planar(channels_last: Tensor) -> Tensor:
    return channels_last.permute(0, 3, 1, 2)
