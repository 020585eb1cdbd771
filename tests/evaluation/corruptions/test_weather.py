"""Weather beside the authors' programs, restated in NumPy; frost, which is ours, beside what their photographs have."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from corruption_cases import SIZES, SLOW, OneDraw, enlarged, in_motion, largest_difference

from kd_runner.evaluation.corruptions.corrupt import corrupt


@pytest.mark.parametrize(("side", "severity"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_snow_falls_in_two_directions(side: int, severity: int, channels: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        flakes = enlarged(c[0] + c[1] * draw.normal("flakes", 1, side, side)[0][..., None], c[2])
        flakes[flakes < c[3]] = 0
        flakes = np.floor(255 * np.clip(flakes, 0, 1) + 1e-6) / 255
        flakes = in_motion(flakes, c[4], c[5], -135 + 90 * float(draw.uniform("angle")))
        gray = image @ np.array([[0.299], [0.587], [0.114]]) if channels == 3 else image
        white = c[6] * image + (1 - c[6]) * np.maximum(image, gray * 1.5 + 0.5)
        return np.clip(white + flakes + np.rot90(flakes, k=2), 0, 1) * 255

    assert largest_difference("snow", severity, side, restated, channels) == 0


@pytest.mark.parametrize(("side", "severity"), [(16, 5), *SLOW])
def test_fog_is_plasma_by_diamonds_and_squares(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        plasma = published_plasma(16 if side == 16 else 128, c[1], draw)[:side, :side, None]
        return np.clip((image + c[0] * plasma) * image.max() / (image.max() + c[0]), 0, 1) * 255

    assert largest_difference("fog", severity, side, restated) == 0


def published_plasma(size: int, decay: float, draw: OneDraw) -> np.ndarray:
    """Each point by itself, on a torus: first the middles of squares, then of the diamonds between them."""
    points, step, wibble = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half = step // 2
        numbers = wibble * (-wibble + 2 * wibble * draw.uniform(f"plasma {step}", 3, size // step, size // step))

        def mean_of(*places: tuple[int, int]) -> float:
            return sum(points[y % size, x % size] for y, x in places) / 4

        corners = [(y, x) for y in range(0, size, step) for x in range(0, size, step)]
        for y, x in corners:
            around = ((y, x), (y + step, x), (y, x + step), (y + step, x + step))
            points[y + half, x + half] = mean_of(*around) + numbers[0, y // step, x // step]
        for which, (down, right) in ((1, (0, half)), (2, (half, 0))):
            for y, x in corners:
                v, u = y + down, x + right
                around = ((v - half, u), (v + half, u), (v, u - half), (v, u + half))
                points[v, u] = mean_of(*around) + numbers[which, y // step, x // step]
        step, wibble = half, wibble / decay
    return (points - points.min()) / (points.max() - points.min())


@pytest.mark.parametrize(("side", "severity"), SIZES)
def test_brightness_is_added_to_the_value_of_hsv(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3).tolist()]
        brighter = [colorsys.hsv_to_rgb(hue, saturation, min(1, value + c[0])) for hue, saturation, value in pixels]
        return np.array(brighter).reshape(image.shape) * 255

    assert largest_difference("brightness", severity, side, restated) == 0


def test_frost_has_the_colours_and_the_spread_of_photographs() -> None:
    black = torch.zeros(150, 32, 32, 3, dtype=torch.uint8)
    layers = corrupt(black, torch.arange(150), "frost", 5, 0).double() / 0.45  # frost alone, at its weight
    assert layers.mean((0, 1, 2)).numpy() == pytest.approx([146, 166, 179], abs=12)  # the means of five photographs
    within = layers.mean(3).std((1, 2))
    assert within.mean().item() == pytest.approx(14.9, abs=2)
    centred = layers.mean(3) - layers.mean((1, 2, 3))[:, None, None]
    neighbours = (centred[:, :, 1:] * centred[:, :, :-1]).mean() / centred.square().mean()
    assert neighbours.item() == pytest.approx(0.82, abs=0.04)


def test_frost_is_laid_over_the_image_with_the_published_weights() -> None:
    gray = torch.full((1, 16, 16, 3), 100, dtype=torch.uint8)
    layer = corrupt(torch.zeros_like(gray), torch.tensor([3]), "frost", 4, 0).double()
    over = corrupt(gray, torch.tensor([3]), "frost", 4, 0).double()
    assert (over - layer - 0.85 * 100).abs().max().item() <= 1
