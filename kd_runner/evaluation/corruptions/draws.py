"""Random numbers of a corruption, which are the same for an image on every machine and in every batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kd_runner.input_pipeline.device_copy import sent
from kd_runner.randomness import derived_seed, keyed_uniform

HALF_A_STEP = 2.0**-25  # of keyed_uniform's numbers, which are multiples of 2^-24


class Draws:
    """Random numbers for a batch of images: functions of the seed, the purpose and the image's number alone.

    Args:
        numbers: The images' numbers in their split, int64 [N].
        device: The device on which the random numbers are made.
        key: The use of the numbers, such as (seed, 'fog', 3); another key gives other numbers.
    """

    def __init__(self, numbers: Tensor, device: torch.device, *key: object) -> None:
        self.numbers, self.device, self.key = sent(numbers, device), device, key

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Numbers in (0, 1), float64 [N, *shape]; neither 0 nor 1 is among them."""
        seed = derived_seed("corruptions", *self.key, purpose)
        values = keyed_uniform(self.numbers, seed, math.prod(shape)).double() + HALF_A_STEP
        return values.t().contiguous().view(len(self.numbers), *shape)

    def between(self, purpose: str, low: float, high: float, *shape: int) -> Tensor:
        """Numbers between `low` and `high`, float64 [N, *shape]."""
        return low + (high - low) * self.uniform(purpose, *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Normal numbers of mean 0 and standard deviation 1, float64 [N, *shape]."""
        return torch.special.ndtri(self.uniform(purpose, *shape))
