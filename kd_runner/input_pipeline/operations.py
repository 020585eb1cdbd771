"""Augmentation of a batch: the random numbers of each image are arguments, and all images are changed at once.

Bytes are uint8 [N, H, W, C]: with the channels last, a crop is one run of memory. The random numbers live on
the CPU, where they cost nothing to look at; the images may live on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as vision
from torch import Tensor

from kd_runner.input_pipeline.device_copy import sent

MAGNITUDES = 31  # RandAugment's scale goes from 0 to 30
ATTEMPTS = 10  # random rectangles that random_erasing and resized_crop try until one fits


def crop_and_flip(images: Tensor, padding: int, row: Tensor, column: Tensor, mirrored: Tensor | None) -> Tensor:
    """Each image padded with black and cropped to its old size at (row, column), then mirrored left to right or not.

    Args:
        images: uint8 [N, H, W, C].
        padding: Pixels on each side.
        row, column: First row and first column of the window in the padded image, int64 [N], 0 to 2 · padding.
        mirrored: True for the images that are mirrored, bool [N]; None for no image.
    """
    count, height, width, channels = images.shape
    position = torch.arange(count)  # position of each image in `images`
    if mirrored is not None:
        # The mirrored images are moved behind the plain ones, and `position` finds each image again.
        order = torch.argsort(mirrored.byte(), stable=True)
        position = torch.empty_like(order)
        position[order] = torch.arange(count)
        flips = int(mirrored.sum())
        plain, flipped = images.index_select(0, sent(order, images.device)).split([count - flips, flips])
        images = torch.cat([plain, _mirror(flipped)])
        column = torch.where(mirrored, 2 * padding - column, column)
    if not padding:
        return images.index_select(0, sent(position, images.device))
    # In memory, a window is one run of bytes of the padded image: its rows, and between them the pixels beside the
    # window. Copying the run and dropping these pixels is several times faster than an index for each pixel.
    row_bytes = (width + 2 * padding) * channels
    rows = height + 2 * padding + 1  # one more, for the last run to end in
    flat = F.pad(images.reshape(count, height, width * channels), (padding * channels,) * 2 + (padding, padding + 1))
    starts = (position * rows + row) * row_bytes + column * channels
    runs = flat.view(-1).as_strided(((count * rows - height) * row_bytes + 1, height * row_bytes), (1, 1))
    windows = runs.index_select(0, sent(starts, images.device))
    return windows.view(count, height, width + 2 * padding, channels)[:, :, :width]


def crop_boxes(numbers: Tensor, least: float, height: int, width: int) -> tuple[Tensor, ...]:
    """The windows for `resized_crop`: (first row, first column, height, width), int64 [N] each.

    Inception's crops (Szegedy et al. 2014, arXiv:1409.4842, section 6) as torchvision draws them: `least` to all of the
    area, an aspect ratio from 3/4 to 4/3, ten attempts to find a window that fits, and else the largest in the middle.

    Args:
        numbers: Uniform random numbers in [0, 1), [2 + 2 · ATTEMPTS, N].
        least: The smallest share of the image's area, 0 to 1.
    """
    area = height * width * (least + (1 - least) * numbers[2 : 2 + ATTEMPTS])
    ratio = torch.exp(math.log(3 / 4) + math.log(16 / 9) * numbers[2 + ATTEMPTS :])
    widths = torch.round(torch.sqrt(area * ratio)).long()
    heights = torch.round(torch.sqrt(area / ratio)).long()
    fits = (heights >= 1) & (widths >= 1) & (heights <= height) & (widths <= width)
    first, any_fits = fits.byte().argmax(0, keepdim=True), fits.any(0)
    largest_height, largest_width = min(height, round(width / (3 / 4))), min(width, round(height * 4 / 3))
    box_height = torch.where(any_fits, heights.gather(0, first)[0], largest_height)
    box_width = torch.where(any_fits, widths.gather(0, first)[0], largest_width)
    row = torch.where(any_fits, (numbers[0] * (height - box_height + 1)).long(), (height - largest_height) // 2)
    column = torch.where(any_fits, (numbers[1] * (width - box_width + 1)).long(), (width - largest_width) // 2)
    return row, column, box_height, box_width


def resized_crop(images: Tensor, row: Tensor, column: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """A window of each image, enlarged to the image's size by bilinear interpolation.

    A window is never larger than the image, so that there is nothing to smooth against aliasing.

    Args:
        images: uint8 [N, H, W, C].
        row, column, height, width: The window in pixels, inside the image; int64 [N] each.
    """
    rows, columns = images.shape[1:3]
    down = sent(_window_positions(row, height, rows), images.device)
    right = sent(_window_positions(column, width, columns), images.device)
    grid = torch.stack(torch.broadcast_tensors(right[:, None, :], down[:, :, None]), 3)
    planar = images.permute(0, 3, 1, 2).float()
    enlarged = F.grid_sample(planar, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return enlarged.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _window_positions(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Positions of a window's `side` new pixels in the image, [N, side]: -1 is the first old pixel, 1 the last."""
    centres = (torch.arange(side) + 0.5) * (length[:, None] / side) - 0.5
    # The last pixel of a window is repeated at its edge: pixels outside the window must not be seen.
    inside = torch.minimum(centres.clamp_min(0), length[:, None] - 1.0)
    return (start[:, None] + inside) * (2 / max(side - 1, 1)) - 1


def _mirror(images: Tensor) -> Tensor:
    # As [N, C, H, W] in channels_last, for which PyTorch has a fast kernel.
    return images.permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1)


def erase(images: Tensor, row: Tensor, column: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """The images with a rectangle of each set to zero, which is the mean of normalised images.

    Args:
        images: float [N, C, H, W].
        row, column, height, width: The rectangle in pixels, int64 [N] each; parts outside the image are passed over.
    """
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    edges = torch.stack([row, row + height, column, column + width]).unsqueeze(2)
    start, end, first, last = sent(edges, images.device)
    inside = ((rows >= start) & (rows < end)).unsqueeze(2) & ((columns >= first) & (columns < last)).unsqueeze(1)
    return images.masked_fill(inside.unsqueeze(1), 0)


def cutout_boxes(numbers: Tensor, side: int, height: int, width: int) -> tuple[Tensor, ...]:
    """The squares of `side` pixels around any pixel of the image: (first row, first column, height, width), [N] each.

    Cutout (DeVries and Taylor 2017, arXiv:1708.04552): the square may reach over the edge.

    Args:
        numbers: Uniform random numbers in [0, 1), [2, N].
    """
    row = (numbers[0] * height).long() - side // 2
    column = (numbers[1] * width).long() - side // 2
    sides = torch.full_like(row, side)
    return row, column, sides, sides


def erasing_boxes(numbers: Tensor, share: float, height: int, width: int) -> tuple[Tensor, ...]:
    """Random rectangles, empty for all but a `share` of the images: (first row, first column, height, width), [N] each.

    Random erasing (Zhong et al. 2017, arXiv:1708.04896) with torchvision's defaults: 2 to 33 % of the area, an aspect
    ratio from 0.3 to 3.3, ten attempts to find a rectangle that fits.

    Args:
        numbers: Uniform random numbers in [0, 1), [3 + 2 · ATTEMPTS, N].
    """
    area = height * width * (0.02 + 0.31 * numbers[3 : 3 + ATTEMPTS])
    ratio = torch.exp(math.log(0.3) + (math.log(3.3) - math.log(0.3)) * numbers[3 + ATTEMPTS :])
    heights = torch.round(torch.sqrt(area * ratio)).long()
    widths = torch.round(torch.sqrt(area / ratio)).long()
    fits = (heights < height) & (widths < width)
    first = fits.byte().argmax(0, keepdim=True)
    is_erased = (numbers[0] < share) & fits.any(0)
    box_height = torch.where(is_erased, heights.gather(0, first)[0], 0)
    box_width = torch.where(is_erased, widths.gather(0, first)[0], 0)
    row = (numbers[1] * (height - box_height + 1)).long()
    column = (numbers[2] * (width - box_width + 1)).long()
    return row, column, box_height, box_width


def mixup(images: Tensor, share: float) -> Tensor:
    """The sum of share · each image and (1 − share) · the one before it in the batch.

    Mixup (Zhang et al. 2017, arXiv:1710.09412), of images float [N, C, H, W].
    """
    return torch.lerp(images.roll(1, 0), images, share)


def cutmix(images: Tensor, share: float, across: float, down: float) -> tuple[Tensor, float]:
    """Each image with a box of the one before it in the batch pasted in, and the share of its own pixels that is left.

    CutMix (Yun et al. 2019, arXiv:1905.04899): a box with a `1 − share` of the area around one pixel, the same for all
    images. A box that reaches over the edge is cut, and the share corrected.

    Args:
        images: float [N, C, H, W].
        across, down: Middle of the box, as shares of width and height, 0 to 1.
    """
    height, width = images.shape[2:]
    x, y = int(across * width), int(down * height)
    half = 0.5 * math.sqrt(1 - share)
    top, bottom = max(y - int(half * height), 0), min(y + int(half * height), height)
    start, end = max(x - int(half * width), 0), min(x + int(half * width), width)
    mixed = images.clone()
    mixed[:, :, top:bottom, start:end] = images.roll(1, 0)[:, :, top:bottom, start:end]
    return mixed, 1 - (bottom - top) * (end - start) / (height * width)


def mixing_share(concentration: float, key: int) -> float:
    """A random number of the distribution Beta(concentration, concentration), a function of `key` alone."""
    return float(np.random.default_rng(key).beta(concentration, concentration))


def rand_augment(images: Tensor, numbers: Tensor, magnitude: int) -> Tensor:
    """Random operations on each image, one after another.

    RandAugment (Cubuk et al. 2019, arXiv:1909.13719) with torchvision's fourteen operations and scales. Each operation
    is applied at once to all images that drew it.

    Args:
        images: uint8 [N, H, W, C].
        numbers: Uniform random numbers in [0, 1), [operations, 2, N]: for the operation, and for its sign.
        magnitude: 0 to 30.
    """
    planar = images.permute(0, 3, 1, 2).contiguous()
    operations = _operations(magnitude, *planar.shape[2:])
    for operation_draw, sign_draw in numbers:
        # Twice the number of the operation, plus one where its sign is negative.
        choices = (operation_draw * len(operations)).long() * 2 + (sign_draw < 0.5)
        for choice in choices.unique().tolist():
            indices = sent(torch.nonzero(choices == choice).flatten(), planar.device)
            changed = operations[choice // 2](planar.index_select(0, indices), -1.0 if choice % 2 else 1.0)
            planar = planar.index_copy(0, indices, changed)
    return planar.permute(0, 2, 3, 1)


def _move_pixels(images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`change` of images [N, C, H, W], where it gives each pixel another one's value, or black.

    It is asked once, on the CPU, where each pixel comes from: torchvision's own copies of its matrices to a GPU wait.
    """
    height, width = images.shape[2:]
    numbers = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
    sources = change(numbers).long().flatten()  # 0 for black
    with_black = F.pad(images.flatten(2), (1, 0))
    return with_black.index_select(2, sent(sources, images.device)).view_as(images)


def _sharpen(images: Tensor, factor: float) -> Tensor:
    """`factor` times the images uint8 [N, C, H, W] and (1 - `factor`) times the same blurred, without their borders.

    The operation of PIL and of torchvision, whose own kernel of blurring is copied to a GPU, which waits.
    """
    channels, height, width = images.shape[1:]
    if min(height, width) <= 2:
        return images
    kernel = torch.full((channels, 1, 3, 3), 1 / 13, device=images.device)
    kernel[:, :, 1, 1] = 5 / 13
    floats = images.float()
    inside = floats[:, :, 1:-1, 1:-1]
    blurred = F.conv2d(floats, kernel, groups=channels).round_()
    inside.add_(blurred.sub_(inside), alpha=1 - factor)
    return floats.clamp_(0, 255).to(torch.uint8)


def _operations(magnitude: int, height: int, width: int) -> list[Callable[[Tensor, float], Tensor]]:
    """RandAugment's operations: callables of images uint8 [N, C, H, W] and a sign, which some of them do not use."""
    level = magnitude / (MAGNITUDES - 1)
    shear, turn, colour = math.degrees(math.atan(0.3 * level)), 30.0 * level, 0.9 * level
    across, down = 150.0 / 331.0 * width * level, 150.0 / 331.0 * height * level
    bits = round(8 - magnitude / ((MAGNITUDES - 1) / 4))

    def affine_transform(translate: tuple[int, int] = (0, 0), slant: tuple[float, float] = (0.0, 0.0)):
        def apply(x: Tensor, sign: float) -> Tensor:
            move = [int(sign * t) for t in translate]
            corner = [0.0, 0.0] if any(slant) else None
            shear = [sign * s for s in slant]
            return _move_pixels(
                x,
                lambda places: vision.affine(places, angle=0.0, translate=move, scale=1.0, shear=shear, center=corner),
            )

        return apply

    return [
        lambda x, sign: x,
        affine_transform(slant=(shear, 0.0)),
        affine_transform(slant=(0.0, shear)),
        affine_transform(translate=(int(across), 0)),
        affine_transform(translate=(0, int(down))),
        lambda x, sign: _move_pixels(x, lambda places: vision.rotate(places, angle=sign * turn)),
        lambda x, sign: vision.adjust_brightness(x, 1 + sign * colour),
        lambda x, sign: vision.adjust_saturation(x, 1 + sign * colour),
        lambda x, sign: vision.adjust_contrast(x, 1 + sign * colour),
        lambda x, sign: _sharpen(x, 1 + sign * colour),
        lambda x, sign: vision.posterize(x, bits),
        lambda x, sign: vision.solarize(x, 255 * (1 - level)),
        lambda x, sign: vision.autocontrast(x),
        lambda x, sign: vision.equalize(x),
    ]
