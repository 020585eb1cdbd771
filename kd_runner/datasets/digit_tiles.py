"""Pictures of up to four handwritten digits, two by two: an image has several labels, the digits that are in it."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from kd_runner.datasets.digits import digits
from kd_runner.datasets.splits import Split, Splits

ROWS = COLUMNS = 2
SPLITS = ("train", "val", "test")


def digit_tiles(
    seed: int,
    train_images: int = 2000,
    val_images: int = 400,
    test_images: int = 1000,
    empty: float = 0.4,
) -> Splits:
    """Images of 16x16 pixels, each of two by two of scikit-learn's digits (`digits`), drawn at random with `seed`.

    The digits are cut into splits first, so that no digit of a test image is in a training image.

    Args:
        train_images, val_images, test_images: The number of images of each split.
        empty: The share of the places that stay empty, 0 or more and below 1; one place of each image never is.

    Raises:
        ValueError: fewer images than a split needs, or a share outside its range.
    """
    if not 0 <= empty < 1:
        raise ValueError(f"empty must be 0 or more and below 1, got {empty:g}")
    parts = digits(seed)
    counts = (train_images, val_images, test_images)
    for name, count in zip(SPLITS, counts, strict=True):
        if count < 2:
            raise ValueError(f"{name}_images must be 2 or more, got {count}")
    train, val, test = (
        _tiles(cast("Split", getattr(parts, name)), count, empty, np.random.default_rng([seed, number]))
        for number, (name, count) in enumerate(zip(SPLITS, counts, strict=True))
    )
    return Splits(train, val, test, list(parts.classes))


def _tiles(part: Split, count: int, empty: float, generator: np.random.Generator) -> Split:
    """`count` images of digits of a split, uint8 [N, 1, 16, 16], and which digits are in them, uint8 [N, 10]."""
    tiles = ROWS * COLUMNS
    chosen = torch.from_numpy(generator.integers(len(part), size=(count, tiles)))
    shown = torch.from_numpy(generator.random((count, tiles)) >= empty)
    shown[torch.arange(count), torch.from_numpy(generator.integers(tiles, size=count))] = True
    height, width = part.image_shape[1:]
    cells = part.images[chosen, 0] * shown[..., None, None].to(torch.uint8)  # [N, 4, 8, 8]
    rows = cells.view(count, ROWS, COLUMNS, height, width).transpose(2, 3)
    images = rows.reshape(count, 1, ROWS * height, COLUMNS * width)
    return Split(images.contiguous(), _labels_of_tiles(part.labels[chosen], shown))


def _labels_of_tiles(labels: Tensor, shown: Tensor) -> Tensor:
    """uint8 [N, 10], 1 for the digits that are in an image, of its digits int64 [N, 4] and which of them are shown."""
    present = torch.zeros(len(labels), 10, dtype=torch.uint8)
    return present.scatter_reduce_(1, labels, shown.to(torch.uint8), "amax")
