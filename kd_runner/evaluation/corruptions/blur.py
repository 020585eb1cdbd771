"""Blur: out of focus, through frosted glass, in motion, while zooming. Images are float64 [N, C, H, W], 0 to 1."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from kd_runner.evaluation.corruptions import resampling
from kd_runner.evaluation.corruptions.draws import Draws
from kd_runner.evaluation.corruptions.published import Parameters
from kd_runner.evaluation.corruptions.rounding import round_down, round_to_nearest

LEAST_WEIGHT = 1e-9  # a smaller one of a filter changes no byte


def defocus_blur(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images with each point spread over a disk, and mirrored about the pixel at the edge."""
    radius, smoothing = parameters
    kernel = _disk(radius, smoothing)
    height, width = images.shape[2:]
    rows, columns = (mirrored_indices(side, len(kernel) // 2, images.device) for side in (height, width))
    padded = images.index_select(2, rows).index_select(3, columns)
    total = torch.zeros_like(images)
    for row, column in np.argwhere(
        kernel > LEAST_WEIGHT
    ).tolist():  # PyTorch's convolution in float64 is 20 times slower
        part = padded[:, :, row : row + height, column : column + width]
        total.add_(part, alpha=float(kernel[row, column]))
    return total


@functools.lru_cache(16)
def _disk(radius: float, smoothing: float) -> np.ndarray:
    """A disk whose values have the sum 1, smoothed by a small Gaussian; float64, less the rings of zeros around it."""
    reach, edge = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    across = np.arange(-reach, reach + 1)
    disk = (across[:, None] ** 2 + across**2 <= radius**2).astype(float)
    weights = np.exp(-(np.arange(-edge, edge + 1) ** 2) / (2 * smoothing**2))
    weights /= weights.sum()
    padded = np.pad(disk / disk.sum(), edge, mode="reflect")
    smooth = np.apply_along_axis(np.convolve, 0, padded, weights, "valid")
    smooth = np.apply_along_axis(np.convolve, 1, smooth, weights, "valid")
    rings = min(int(np.argmax(smooth.max(0) > 0)), reach)
    return smooth[rings : len(smooth) - rings, rings : len(smooth) - rings]


def mirrored_indices(side: int, reach: int, device: torch.device) -> Tensor:
    """Indices of a side with `reach` more pixels at both ends, mirrored about the last pixel; int64."""
    period = max(1, 2 * (side - 1))
    positions = torch.arange(-reach, side + reach, device=device) % period
    return torch.minimum(positions, period - positions)


def glass_blur(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images blurred, with pixels that take the place of others nearby, and blurred again.

    The authors' program goes through the pixels from the last to the first. It means to swap each with another one,
    and overwrites it instead, as NumPy's rows are views: that made the published images, and is done here.
    """
    sigma, distance, rounds = parameters[0], int(parameters[1]), int(parameters[2])
    rows, columns = images.shape[2:]
    blur = resampling.gaussian(rows, sigma), resampling.gaussian(columns, sigma)
    pixels = round_down(resampling.along_sides(images, *blur)).flatten(2)
    for number in range(rounds):
        sources = _sources(rows, columns, distance, draws, f"round {number}")
        pixels = pixels.gather(2, sources.unsqueeze(1).expand_as(pixels))
    return resampling.along_sides(pixels.view_as(images), *blur)


def _sources(rows: int, columns: int, distance: int, draws: Draws, purpose: str) -> Tensor:
    """The index of the pixel that each pixel's value comes from, int64 [N, rows * columns].

    A pixel is overwritten by another one near it. Where that one came earlier, it had been overwritten itself: a chain,
    which ends at a pixel that had not. Following all chains twice as far at a time takes few steps.
    """
    shifts = (draws.uniform(purpose, 2, rows, columns) * (2 * distance)).long() - distance
    row = torch.arange(rows, device=shifts.device).unsqueeze(1).expand(rows, columns)
    column = torch.arange(columns, device=shifts.device).expand(rows, columns)
    indices = row * columns + column
    is_changed = (row > distance) & (row <= rows - distance) & (column > distance) & (column <= columns - distance)
    taken = (row + shifts[:, 1]).clamp(0, rows - 1) * columns + (column + shifts[:, 0]).clamp(0, columns - 1)
    taken = torch.where(is_changed, taken, indices).flatten(1)
    goes_on = is_changed.flatten()[taken] & (taken > indices.flatten())
    last = torch.where(goes_on, taken, indices.flatten())
    for _ in range(math.ceil(math.log2(max(2, rows * columns)))):
        last = last.gather(1, last)
    return taken.gather(1, last)


def motion_blur(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images moved in a direction between -45 and 45 degrees."""
    radius, sigma = parameters
    return blur_to_one_side(images, radius, sigma, draws.between("angle", -45, 45))


def blur_to_one_side(images: Tensor, radius: float, sigma: float, angles: Tensor) -> Tensor:
    """The images blurred to one side, as ImageMagick's motion blur does it, in bytes.

    Each pixel is a mean over those on a line that begins at it, with half a Gaussian as weights. Beyond the edge is the
    pixel at the edge.

    Args:
        angles: Directions in degrees, [N].
    """
    count, channels, rows, columns = images.shape
    weights = np.exp(-(np.arange(2 * math.ceil(radius) + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    radians = torch.deg2rad(angles)
    row, column = (torch.arange(side, device=images.device) for side in (rows, columns))
    pixels, total = images.flatten(2), torch.zeros_like(images)
    for step, weight in enumerate(weights[weights > LEAST_WEIGHT].tolist()):
        down, right = ((step * direction - 0.5).ceil().long() for direction in (radians.sin(), radians.cos()))
        at_rows = (row + down.unsqueeze(1)).clamp(0, rows - 1)
        at_columns = (column + right.unsqueeze(1)).clamp(0, columns - 1)
        indices = (at_rows.unsqueeze(2) * columns + at_columns.unsqueeze(1)).view(count, 1, -1)
        total += weight * pixels.gather(2, indices.expand(-1, channels, -1)).view_as(images)
    return round_to_nearest(total)


def zoom_blur(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The mean of the images and their middles, enlarged by several factors."""
    total = images.clone()
    for factor in parameters:
        matrices = (resampling.zoom(side, factor) for side in images.shape[2:])
        total += resampling.along_sides(images, *matrices)
    return total / (len(parameters) + 1)
