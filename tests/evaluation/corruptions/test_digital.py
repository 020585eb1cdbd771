"""What processing does to images beside the authors' programs, restated with SciPy and Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from corruption_cases import SIZES, OneDraw, largest_difference
from PIL import Image
from scipy import ndimage


def test_contrast_goes_to_the_mean_of_each_channel() -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        means = image.mean((0, 1), keepdims=True)
        return np.clip((image - means) * c[0] + means, 0, 1) * 255

    assert largest_difference("contrast", 3, 16, restated) == 0


@pytest.mark.parametrize(("side", "severity"), [*SIZES, (28, 4)])
def test_pixels_are_those_of_pillow_s_box_filter(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        picture = Image.fromarray(np.uint8(np.round(image * 255)))
        smaller = picture.resize((int(side * c[0]), int(side * c[0])), Image.Resampling.BOX)
        return np.asarray(smaller.resize((side, side), Image.Resampling.BOX), float)

    assert largest_difference("pixelate", severity, side, restated) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillow_s(channels: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(np.uint8(np.round(image.squeeze() * 255))).save(file, "JPEG", quality=int(c[0]))
        return np.asarray(Image.open(file), float).reshape(image.shape)

    assert largest_difference("jpeg", 2, 68, restated, channels) == 0


@pytest.mark.parametrize(("side", "severity"), [*SIZES, (16, 1)])
def test_elastic_is_an_affine_map_and_then_smooth_shifts(side: int, severity: int) -> None:
    def restated(image: np.ndarray, c: tuple[float, ...], draw: OneDraw) -> np.ndarray:
        shift, sigma, corner = (side * share for share in c)
        reach, middle = side // 3, side // 2
        points = np.array([[middle + reach] * 2, [middle + reach, middle - reach], [middle - reach] * 2], float)
        moved = points + corner * (2 * draw.uniform("corners", 3, 2) - 1)
        # x and y of where each pixel comes from: the map that takes the moved points back.
        matrix = np.linalg.inv(np.column_stack([moved, np.ones(3)])) @ points
        y, x = np.indices((side, side), float)
        from_x, from_y = np.moveaxis(np.stack([x, y, np.ones_like(x)], 2) @ matrix, 2, 0)
        image = taken(image, from_y, from_x, "mirror")
        noise = 2 * draw.uniform("shifts", 2, side, side) - 1
        dx, dy = (shift * ndimage.gaussian_filter(layer, sigma, mode="reflect", truncate=3) for layer in noise)
        return np.clip(taken(image, y + dy, x + dx, "reflect"), 0, 1) * 255

    assert largest_difference("elastic", severity, side, restated) == 0


def taken(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str) -> np.ndarray:
    """The image at positions, linearly between pixels."""
    channels = [
        ndimage.map_coordinates(layer, (rows, columns), order=1, mode=mode) for layer in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, 2)
