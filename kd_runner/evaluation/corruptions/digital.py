"""Corruptions by digital processing: contrast, bending, pixelation, JPEG. Images are float64 [N, C, H, W], 0 to 1."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.evaluation.corruptions import resampling
from kd_runner.evaluation.corruptions.draws import Draws
from kd_runner.evaluation.corruptions.published import Parameters
from kd_runner.evaluation.corruptions.rounding import WHITE, round_to_nearest, to_bytes


def contrast(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images with less of what differs from the mean of each channel."""
    (factor,) = parameters
    means = images.mean((2, 3), keepdim=True)
    return (images - means) * factor + means


def pixelate(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images made smaller and larger again by Pillow's box filter, in bytes after each pass."""
    (share,) = parameters
    rows, columns = images.shape[2:]
    fewer = [max(1, int(side * share)) for side in (rows, columns)]
    for old, new in (((rows, columns), fewer), (fewer, (rows, columns))):
        down, right = (
            torch.from_numpy(resampling.box(side, size)).to(images.device) for side, size in zip(old, new, strict=True)
        )
        images = round_to_nearest(down @ round_to_nearest(images @ right.t()))
    return images


def jpeg(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images as JPEG files of a quality, by Pillow on the CPU: other coders give other bytes."""
    (quality,) = parameters
    pictures = to_bytes(images).permute(0, 2, 3, 1).cpu().numpy()
    with ThreadPoolExecutor() as pool:
        coded = np.stack(list(pool.map(partial(_through_jpeg, quality=int(quality)), pictures)))
    return torch.from_numpy(coded).to(images.device).permute(0, 3, 1, 2).double() / WHITE


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """A picture uint8 [H, W, C] after it was written and read as JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=["JPEG"])).reshape(picture.shape)


def elastic(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images moved by a random affine map, and then each pixel by a smooth random shift."""
    shift, sigma, corner = (min(images.shape[2:]) * share for share in parameters)
    rows, columns = images.shape[2:]
    images = _move_by_affine_map(images, draws.between("corners", -corner, corner, 3, 2))
    blur = (resampling.gaussian(side, sigma, "reflect", 3) for side in (rows, columns))
    shifts = shift * resampling.along_sides(draws.between("shifts", -1, 1, 2, rows, columns), *blur)
    row, column = (torch.arange(side, device=images.device, dtype=torch.float64) for side in (rows, columns))
    return _sample(images, row.unsqueeze(1) + shifts[:, 1], column + shifts[:, 0], about_pixel=False)


def _move_by_affine_map(images: Tensor, shifts: Tensor) -> Tensor:
    """The images under the affine map that moves three points around the middle.

    Args:
        shifts: Distances by which each point moves to the right and down, in pixels; [N, 3, 2].
    """
    rows, columns = images.shape[2:]
    reach = max(1, min(rows, columns) // 3)
    middle = torch.tensor([rows // 2, columns // 2], dtype=torch.float64)
    points = middle + reach * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    moved_points = points + shifts.cpu()
    ones = torch.ones(*moved_points.shape[:2], 1, dtype=torch.float64)
    back = torch.linalg.solve(torch.cat([moved_points, ones], 2), points.expand_as(moved_points))  # [N, 3, 2]
    across, down, start = back.to(images.device).unbind(1)
    y, x = torch.meshgrid(*(torch.arange(side, device=images.device) for side in (rows, columns)), indexing="ij")
    right, below = (
        (across[:, axis, None, None] * x + down[:, axis, None, None] * y + start[:, axis, None, None])
        for axis in (0, 1)
    )
    return _sample(images, below, right, about_pixel=True)


def _sample(images: Tensor, rows: Tensor, columns: Tensor, about_pixel: bool) -> Tensor:
    """The images at positions [N, H, W] in pixels, linearly between pixels; beyond the edge they are mirrored.

    Args:
        about_pixel: True to mirror about the last pixel, False about its outer edge.
    """
    count, channels, height, width = images.shape
    first_row, first_column = rows.floor(), columns.floor()
    total = torch.zeros_like(images)
    for down in (0, 1):
        row_weights = (1 - (rows - first_row - down).abs()).unsqueeze(1)
        at_rows = _mirror_positions((first_row + down).long(), height, about_pixel)
        for right in (0, 1):
            weights = row_weights * (1 - (columns - first_column - right).abs()).unsqueeze(1)
            at_columns = _mirror_positions((first_column + right).long(), width, about_pixel)
            indices = (at_rows * width + at_columns).view(count, 1, -1).expand(-1, channels, -1)
            total += weights * images.flatten(2).gather(2, indices).view_as(images)
    return total


def _mirror_positions(positions: Tensor, side: int, about_pixel: bool) -> Tensor:
    """The positions of pixels, mirrored into the side as often as it takes."""
    period = max(1, 2 * side - 2) if about_pixel else 2 * side
    positions = positions % period
    return torch.minimum(positions, period - positions - (0 if about_pixel else 1))
