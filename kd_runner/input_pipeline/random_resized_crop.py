"""Random windows of whole pictures, which are cut when a file is decoded: before anything was resized or cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.input_pipeline import operations
from kd_runner.randomness import keyed_uniform

DRAWS = 2 + 2 * operations.ATTEMPTS


class Window(NamedTuple):
    """An image of a split, and what decides its random window: `seed` and `key`, the image's number."""

    image: int
    key: int
    seed: int
    least: float


@dataclass(frozen=True)
class Windows:
    """The random windows of the images of an order.

    Args:
        keys: The numbers that decide the windows, int64 [N].
        seed: The seed of the windows, which changes with the epoch.
        least: The smallest share of a picture's area that a window takes, above 0 and at most 1.
    """

    keys: Tensor
    seed: int
    least: float

    def items(self, order: Tensor) -> Iterator[Window]:
        """The windows of the images of the order, int64 [N]."""
        for index, key in zip(order.tolist(), self.keys.tolist(), strict=True):
            yield Window(index, key, self.seed, self.least)


class WindowedFiles(torch.utils.data.Dataset[Tensor]):
    """The files of a split: an index gives an image as it is evaluated, a `Window` a random window of its picture."""

    def __init__(self, files: ImageFiles) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int | Window) -> Tensor:
        """uint8 [C, H, W]."""
        if not isinstance(item, tuple):
            return self.files[item]
        with self.files.picture(item.image) as picture:
            _, height, width = self.files.image_shape
            return window_of(picture, box_of(item, picture), height, width)


def box_of(window: Window, picture: Image.Image) -> tuple[int, int, int, int]:
    """The first row, the first column, the height and the width of a window of the picture, in its pixels."""
    numbers = keyed_uniform(torch.tensor([window.key]), window.seed, DRAWS)
    row, column, height, width = operations.crop_boxes(numbers, window.least, picture.height, picture.width)
    return int(row), int(column), int(height), int(width)


def window_of(picture: Image.Image, box: tuple[int, int, int, int], height: int, width: int) -> Tensor:
    """The window of a picture, resized to height and width as torchvision's RandomResizedCrop does; uint8 [C, H, W].

    Args:
        box: Row, column, height and width of the window, in pixels, as `box_of` gives them.
    """
    row, column, rows, columns = box
    cut = picture.crop((column, row, column + columns, row + rows))
    resized = cut.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized).reshape(height, width, -1)).permute(2, 0, 1).contiguous()
