"""Blurring and resizing along rows and columns, as matrices that SciPy and Pillow give.

A filter of one dimension is linear, so that what it makes of the unit vectors is a matrix which does the same to every
row and column of every image, on any device.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

KEPT_MATRICES = 256  # a corruption at one severity needs up to 26 for rows and as many for columns


def along_sides(images: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """The images float64 [N, C, H, W] as [N, C, H', W'], with `rows` [H', H] and `columns` [W', W]."""
    down, right = (torch.from_numpy(matrix).to(images.device) for matrix in (rows, columns))
    return down @ images @ right.t()


@functools.lru_cache(KEPT_MATRICES)
def gaussian(
    side: int, sigma: float, mode: Literal["nearest", "reflect"] = "nearest", truncate: float = 4
) -> np.ndarray:
    """The matrix [side, side] of a Gaussian blur, float64.

    Args:
        sigma: Standard deviation in pixels; 0 for no blur.
        mode: The values beyond the edge: those of the pixel at the edge, or of the mirrored image.
        truncate: Width of the filter to each side, in standard deviations.
    """
    unit = np.eye(side)
    return ndimage.gaussian_filter1d(unit, sigma, axis=0, mode=mode, truncate=truncate) if sigma else unit


@functools.lru_cache(KEPT_MATRICES)
def zoom(side: int, factor: float) -> np.ndarray:
    """The matrix [side, side] that enlarges the middle by `factor`, linearly between pixels; float64."""
    cut = int(np.ceil(side / factor))
    top = (side - cut) // 2
    enlarged = ndimage.zoom(np.eye(cut), (factor, 1), order=1)
    trim = (len(enlarged) - side) // 2
    matrix = np.zeros((side, side))
    matrix[:, top : top + cut] = enlarged[trim : trim + side]
    return matrix


@functools.lru_cache(KEPT_MATRICES)
def box(side: int, size: int) -> np.ndarray:
    """The matrix [size, side] of Pillow's box filter, float64."""
    unit = Image.fromarray(np.eye(side, dtype=np.float32))
    matrix = np.asarray(unit.resize((side, size), Image.Resampling.BOX), np.float64)
    return matrix / matrix.sum(1, keepdims=True)
