"""The parameters of the 15 corruptions at 5 severities, as they were published.

Hendrycks and Dietterich 2019, arXiv:1903.12261; the numbers are those of the authors' programs: of CIFAR-10-C, whose
images have 32 pixels a side, and of ImageNet-C, whose images have 224.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

Size = Literal["small", "large"]
Parameters: TypeAlias = Sequence[float]

SEVERITIES = 5
LARGEST_SMALL = 64  # pixels of the shorter side up to which images have the parameters of CIFAR-10-C
SETS: Mapping[Size, str] = {"small": "CIFAR-10-C", "large": "ImageNet-C"}


def _single_parameters(*numbers: float) -> tuple[Parameters, ...]:
    return tuple((number,) for number in numbers)


def _zooms(*ends_and_steps: tuple[float, float]) -> tuple[Parameters, ...]:
    """The factors of each severity. NumPy's arange decides, as in the authors' program, whether the end is one."""
    return tuple(tuple(np.arange(1, end, step).tolist()) for end, step in ends_and_steps)


# For each corruption and severity:
#   gaussian_noise  standard deviation      shot_noise  photons of white        impulse_noise  share of the values
#   defocus_blur    radius, sigma that smooths its edge                         glass_blur     sigma, distance, rounds
#   motion_blur     radius, sigma           zoom_blur   factors
#   snow            mean, sd, zoom, threshold, radius and sigma of its motion, share that stays without whitening
#   frost           weights of image and frost     fog  thickness, decay        brightness     added value
#   contrast        factor                  pixelate    share of the side       jpeg           quality
#   elastic         shift, sigma and affine shift, in shares of the side
SMALL: Mapping[str, tuple[Parameters, ...]] = {
    "gaussian_noise": _single_parameters(0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": _single_parameters(500, 250, 100, 75, 50),
    "impulse_noise": _single_parameters(0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": _zooms((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": _single_parameters(0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": _single_parameters(0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": _single_parameters(0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg": _single_parameters(80, 65, 58, 50, 40),
}

SIDE = 244 / 224  # the authors' program of ImageNet-C takes 244 for the side of elastic's images
LARGE: Mapping[str, tuple[Parameters, ...]] = {
    "gaussian_noise": _single_parameters(0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": _single_parameters(60, 25, 12, 5, 3),
    "impulse_noise": _single_parameters(0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": _zooms((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": _single_parameters(0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": _single_parameters(0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic": (
        (2 * SIDE, 0.7 * SIDE, 0.1 * SIDE),
        (2 * SIDE, 0.08 * SIDE, 0.2 * SIDE),
        (0.05 * SIDE, 0.01 * SIDE, 0.02 * SIDE),
        (0.07 * SIDE, 0.01 * SIDE, 0.02 * SIDE),
        (0.12 * SIDE, 0.01 * SIDE, 0.02 * SIDE),
    ),
    "pixelate": _single_parameters(0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg": _single_parameters(25, 18, 15, 10, 7),
}
NAMES = tuple(SMALL)


def size_of(height: int, width: int) -> Size:
    """The kind of parameters for images of this size."""
    return "small" if min(height, width) <= LARGEST_SMALL else "large"


def parameters_of(name: str, severity: int, height: int, width: int) -> Parameters:
    """The parameters of a corruption at a severity from 1 to 5, for images of this size."""
    table = SMALL if size_of(height, width) == "small" else LARGE
    return table[name][severity - 1]
