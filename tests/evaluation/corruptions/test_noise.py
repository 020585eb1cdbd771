"""Noise beside a restatement in NumPy, value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corruption_cases import OneDraw, largest_difference


def test_normal_noise_is_added_to_the_image() -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        noise = np.moveaxis(draw.normal("noise", 3, *image.shape[:2]), 0, 2)
        return np.clip(image + c[0] * noise, 0, 1) * 255

    assert largest_difference("gaussian_noise", 1, 16, restated) == 0


@pytest.mark.parametrize(("side", "severity"), [(8, 1), (68, 3)])
def test_photons_are_counted_as_poisson_s_distribution_has_them(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        uniform = draw.uniform("photons", 1, *image.shape[:2])[0, ..., None]
        counts = [photons(mean, u) for mean, u in zip(image.flatten() * c[0], uniform.flatten(), strict=True)]
        return np.clip(np.array(counts).reshape(image.shape) / c[0], 0, 1) * 255

    assert largest_difference("shot_noise", severity, side, restated, channels=1) == 0


def photons(mean: float, uniform: float) -> int:
    """The smallest count whose chance, with that of all smaller ones, is above a number."""
    count, total = 0, math.exp(-mean)
    while total <= uniform:
        count += 1
        total += math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    return count


def test_impulses_are_black_and_white() -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        changed, white = (
            np.moveaxis(draw.uniform(purpose, 3, *image.shape[:2]), 0, 2) for purpose in ("changed", "white")
        )
        spoiled = image.copy()
        spoiled[(changed <= c[0]) & (white <= 0.5)] = 1
        spoiled[(changed <= c[0]) & (white > 0.5)] = 0
        return spoiled * 255

    assert largest_difference("impulse_noise", 5, 68, restated) == 0
