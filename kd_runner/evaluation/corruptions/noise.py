"""Noise: of a sensor, of few photons, of dead pixels. Images are float64 [N, C, H, W], 0 to 1."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy import special
from torch import Tensor

from kd_runner.evaluation.corruptions.draws import Draws
from kd_runner.evaluation.corruptions.published import Parameters

LEVELS = 256  # of a byte
WIDE = 8  # standard deviations above the mean, beyond which no photons are counted


def gaussian_noise(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images with normal noise added."""
    (deviation,) = parameters
    return images + deviation * draws.normal("noise", *images.shape[1:])


def shot_noise(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images as counts of photons, which are Poisson's.

    The counts are read off the distribution of each of the 256 values of a pixel, at a uniform number.
    """
    (photons,) = parameters
    table = torch.from_numpy(_poisson(photons)).to(images.device)
    counts = table.shape[1]
    values = images.mul(LEVELS - 1).round().long()
    steps = table + torch.arange(LEVELS, device=images.device).unsqueeze(1)  # rows one after another: one search
    at = torch.searchsorted(steps.flatten(), values + draws.uniform("photons", *images.shape[1:]), right=True)
    return (at - values * counts).clamp(0, counts - 1).double() / photons


@functools.lru_cache(8)
def _poisson(photons: float) -> np.ndarray:
    """The chance of a count or a smaller one, float64 [256, counts], for each value of a pixel."""
    most = int(photons + WIDE * math.sqrt(photons)) + WIDE
    means = photons * np.arange(LEVELS)[:, None] / (LEVELS - 1)
    return special.pdtr(np.arange(most)[None, :], means)


def impulse_noise(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images with a share of their values set to white or black, as often the one as the other."""
    (share,) = parameters
    shape = images.shape[1:]
    changed, white = draws.uniform("changed", *shape) <= share, draws.uniform("white", *shape) <= 0.5
    return torch.where(changed, white.double(), images)
