"""Blur beside the authors' programs, restated with SciPy, one image after another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corruption_cases import SIZES, OneDraw, enlarged, in_motion, largest_difference
from scipy import ndimage


@pytest.mark.parametrize(("side", "severity"), SIZES)
def test_defocus_spreads_each_point_over_a_disk(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        reach, taps = (8, 3) if c[0] <= 8 else (int(c[0]), 5)
        disk = np.array(
            [[float(x * x + y * y <= c[0] ** 2) for x in range(-reach, reach + 1)] for y in range(-reach, reach + 1)]
        )
        edge = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * c[1] ** 2))
        kernel = ndimage.convolve(disk / disk.sum(), np.outer(edge, edge) / edge.sum() ** 2, mode="mirror")
        channels = [ndimage.correlate(image[..., channel], kernel, mode="mirror") for channel in range(3)]
        return np.clip(np.stack(channels, 2), 0, 1) * 255

    assert largest_difference("defocus_blur", severity, side, restated) == 0


@pytest.mark.parametrize(("side", "severity"), [*SIZES, pytest.param(68, 3, marks=pytest.mark.slow)])
def test_glass_takes_pixels_from_nearby_in_the_published_order(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        distance = int(c[1])
        pixels = np.floor(255 * blurred(image, c[0]) + 1e-6).astype(np.uint8)
        for number in range(int(c[2])):
            uniform = draw.uniform(f"round {number}", 2, *image.shape[:2])
            for h in range(image.shape[0] - distance, distance, -1):
                for w in range(image.shape[1] - distance, distance, -1):
                    dx, dy = (math.floor(u * 2 * distance) - distance for u in uniform[:, h, w])
                    # As it stands in the authors' program: rows of an array are views, so that this does not swap.
                    pixels[h, w], pixels[h + dy, w + dx] = pixels[h + dy, w + dx], pixels[h, w]
        return np.clip(blurred(pixels / 255, c[0]), 0, 1) * 255

    assert largest_difference("glass_blur", severity, side, restated) == 0


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)


@pytest.mark.parametrize(("side", "severity"), SIZES)
def test_motion_is_half_a_gaussian_along_a_line(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        return 255 * in_motion(image, c[0], c[1], -45 + 90 * float(draw.uniform("angle")))

    assert largest_difference("motion_blur", severity, side, restated) == 0


@pytest.mark.parametrize(("side", "severity"), SIZES)
def test_zoom_is_the_mean_of_enlarged_middles(side: int, severity: int) -> None:
    ends = {
        (16, 2): (1.11, 0.01),
        (16, 5): (1.26, 0.01),
        (68, 2): (1.16, 0.01),
        (68, 4): (1.26, 0.02),
        (68, 5): (1.31, 0.03),
    }

    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        end, step = ends[side, severity]
        factors = np.arange(1, end, step)
        layers = [enlarged(image, factor) for factor in factors]
        return np.clip((image + sum(layers)) / (len(factors) + 1), 0, 1) * 255

    assert largest_difference("zoom_blur", severity, side, restated) == 0
