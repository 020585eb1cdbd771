"""Filters as matrices do to an image what SciPy and Pillow do."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from kd_runner.evaluation.corruptions import resampling


def test_a_blur_along_both_sides_is_scipy_s() -> None:
    images = np.random.default_rng(0).random((2, 3, 9, 12))
    for mode, truncate in (("nearest", 4), ("reflect", 3)):
        blur = (resampling.gaussian(side, 1.3, mode, truncate) for side in (9, 12))
        found = resampling.along_sides(torch.from_numpy(images), *blur).numpy()
        wanted = ndimage.gaussian_filter(images, (0, 0, 1.3, 1.3), mode=mode, truncate=truncate)
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_each_new_pixel_is_a_mean_of_old_ones() -> None:
    for matrix in (resampling.box(32, 20), resampling.zoom(32, 1.17), resampling.gaussian(7, 30.0, "reflect", 3)):
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        assert matrix.min() >= 0
    assert np.array_equal(resampling.zoom(8, 1.0), np.eye(8))
