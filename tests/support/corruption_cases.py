"""Images, random numbers and comparisons for the tests of corruptions, one image at a time in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
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
