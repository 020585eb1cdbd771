"""Resizing in a graph: Pillow's, to the last decimal before rounding, for every ratio of sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kd_runner.datasets.decoding.pixels import middle_of
from kd_runner.deploy.export.resizing import Resized, weights

SIZES = [1, 2, 3, 7, 8, 9, 16, 33, 64, 301]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7), (1, 1), (64, 48)])
def test_the_weights_are_pillows_for_every_ratio_of_sizes(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    for stored_height in SIZES:
        for stored_width in SIZES:
            values = rng.random((stored_height, stored_width), dtype=np.float32)
            expected = np.asarray(middle_of(Image.fromarray(values), width, height))
            covering = (
                max(height, width * stored_height // stored_width), max(width, height * stored_width // stored_height)
            )  # fmt: skip
            rows, columns = (
                weights(torch.arange(stored), torch.tensor(stored), torch.tensor(resized), size).numpy()
                for stored, resized, size in zip(values.shape, covering, (height, width), strict=True)
            )
            np.testing.assert_allclose(rows @ values @ columns.T, expected, atol=2e-5)


def test_bytes_are_pillows_but_for_ties_of_rounding() -> None:
    rng = np.random.default_rng(0)
    apart = []
    for size in ((32, 32), (31, 57), (200, 90), (12, 400), (3, 5)):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        picture = coarse.resize(size, Image.Resampling.BICUBIC)
        expected = np.array(middle_of(picture, 32, 32)).astype(int)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        given = Resized(32, 32)(pixels)[0].permute(1, 2, 0).numpy()
        assert given.min() >= 0
        assert given.max() <= 255
        apart.append(np.abs(given - expected))
    assert not apart[0].any()  # pictures of the network's size stay as they are
    assert max(part.max() for part in apart) <= 1
    assert np.mean([part.mean() for part in apart]) < 0.1


@pytest.mark.parametrize("shorter", [64, 65, 80])
def test_the_middle_of_a_larger_picture_is_pillows(shorter: int) -> None:
    rng = np.random.default_rng(0)
    for size in ((64, 48), (48, 64), (80, 80), (31, 57), (200, 90), (12, 300), (300, 3)):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        picture = coarse.resize(size, Image.Resampling.BICUBIC)
        expected = np.array(middle_of(picture, 64, 48, shorter)).astype(int)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        given = Resized(48, 64, shorter)(pixels)[0].permute(1, 2, 0).numpy()
        apart = np.abs(given - expected)
        assert apart.max() <= 2
        assert (apart > 1).sum() <= 1  # a tie along rows that becomes another one along columns
        assert apart.mean() < 0.1
