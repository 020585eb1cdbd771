"""Images, random numbers and comparisons for the tests of corruptions, one image at a time in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from kd_runner.evaluation.corruptions.corrupt import corrupt
from kd_runner.evaluation.corruptions.draws import Draws
from kd_runner.evaluation.corruptions.published import parameters_of

SEED, NUMBERS = 5, torch.tensor([7, 12])
# One image's own numbers, [H, W, C] as float64 0 to 1, its parameters and draws; gives 0 to 255 before bytes.
Restatement = Callable[[np.ndarray, tuple[float, ...], "OneDraw"], np.ndarray]


class OneDraw:
    """The random numbers of one image, as NumPy's arrays."""

    def __init__(self, number: int, name: str, severity: int) -> None:
        self.draws = Draws(NUMBERS[number : number + 1], torch.device("cpu"), SEED, name, severity)

    def uniform(self, purpose: str, *shape: int) -> np.ndarray:
        return self.draws.uniform(purpose, *shape)[0].numpy()

    def normal(self, purpose: str, *shape: int) -> np.ndarray:
        return self.draws.normal(purpose, *shape)[0].numpy()


def some_images(side: int, channels: int = 3) -> Tensor:
    """Two images with smooth parts, edges, black and white; uint8 [2, side, side, C]."""
    generator = np.random.default_rng(side)
    patches = generator.integers(0, 256, (2, 4, 4, channels))
    smooth = np.kron(patches, np.ones((1, side // 4, side // 4, 1)))
    images = np.zeros((2, side, side, channels))
    images[:, : smooth.shape[1], : smooth.shape[2]] = smooth
    images[:, side // 3 : side // 2] += np.linspace(-200, 200, side)[None, None, :, None]
    return torch.from_numpy(np.clip(images + generator.normal(0, 6, images.shape), 0, 255).astype(np.uint8))


def largest_difference(name: str, severity: int, side: int, restated: Restatement, channels: int = 3) -> int:
    """The largest difference in bytes between `corrupt` and the restatement of a corruption."""
    images = some_images(side, channels)
    found = corrupt(images, NUMBERS, name, severity, SEED).numpy().astype(int)
    parameters = tuple(parameters_of(name, severity, side, side))
    differences = []
    for number, image in enumerate(images.numpy()):
        wanted = restated(image / 255.0, parameters, OneDraw(number, name, severity))
        # The published programs cut fractions off; what is within a millionth of a whole number counts as that.
        differences.append(np.abs(np.floor(np.clip(wanted, 0, 255) + 1e-6).astype(int) - found[number]).max())
    return int(max(differences))


# Sides with the parameters of small and of large images, and severities.
SLOW = [pytest.param(side, severity, marks=pytest.mark.slow) for side, severity in ((16, 2), (68, 4), (68, 5))]
SIZES = [(16, 5), (68, 2), *SLOW]


def in_motion(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """ImageMagick's MotionBlurImage: the offset of each weight is rounded, and beyond the edge is the edge."""
    width = 2 * math.ceil(radius) + 1
    weights = [math.exp(-(i * i) / (2 * sigma * sigma)) / (math.sqrt(2 * math.pi) * sigma) for i in range(width)]
    x, y = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    rows, columns = np.indices(image.shape[:2])
    total = np.zeros_like(image)
    for i, weight in enumerate(weights):
        right, down = (math.ceil(i * part / math.hypot(x, y) - 0.5) for part in (y, x))
        taken = np.clip(rows + down, 0, image.shape[0] - 1), np.clip(columns + right, 0, image.shape[1] - 1)
        total += weight / sum(weights) * image[taken]
    return np.floor(255 * np.clip(total, 0, 1) + 0.5) / 255


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    side = image.shape[0]
    cut = int(np.ceil(side / factor))
    top = (side - cut) // 2
    zoomed = ndimage.zoom(image[top : top + cut, top : top + cut], (factor, factor, 1), order=1)
    trim = (zoomed.shape[0] - side) // 2
    return zoomed[trim : trim + side, trim : trim + side]
