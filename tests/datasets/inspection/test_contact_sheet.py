"""The contact sheet shows the pixels that are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kd_runner.datasets.inspection.contact_sheet import EXAMPLES, contact_sheet, corner_of, shown_side
from kd_runner.datasets.splits import Split


def test_the_contact_sheet_shows_the_pixels_that_are_read() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 20, 16), dtype=np.uint8))
    labels = torch.arange(30) % 3
    sheet = contact_sheet(Split(images, labels), ["one", "two", "three"])
    side = shown_side((3, 20, 16))
    assert side == 80
    for label in range(3):
        members = torch.nonzero(labels == label).flatten()
        for column in range(EXAMPLES):
            left, top = corner_of(label, column, side)
            shown = np.asarray(sheet.crop((left, top, left + 64, top + 80)))
            image = images[members[column * len(members) // EXAMPLES]].permute(1, 2, 0).numpy()
            assert np.array_equal(shown, image.repeat(4, 0).repeat(4, 1))
    names = np.asarray(sheet)[:, :140]
    assert (names < 128).any()  # the names are written


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 8, 8), (2, 8, 8), (3, 300, 200)])
def test_a_contact_sheet_of_any_shape_and_of_many_classes(shape: tuple[int, int, int]) -> None:
    images = torch.full((40, *shape), 200, dtype=torch.uint8)
    names = [f"class {number} \u52d5\u7269" for number in range(1000)]
    sheet = contact_sheet(Split(images, torch.arange(40)), names)
    rows = 20
    assert sheet.height == 4 + rows * (shown_side(shape) + 4)
    left, top = corner_of(0, 0, shown_side(shape))
    assert sheet.getpixel((left + 1, top + 1)) == (200, 200, 200)
