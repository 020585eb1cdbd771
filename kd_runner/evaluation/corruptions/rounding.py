"""Bytes of images that are float64, 0 to 1: rounded in the same way on every machine."""

from __future__ import annotations

import torch
from torch import Tensor

WHITE = 255
# Machines differ in the last of 53 bits, which would decide about a number that is a whole one. So a number that is
# this little below one counts as it.
WHOLE = 2.0**-20


def round_down(images: Tensor) -> Tensor:
    """The images 0 to 1 in whole steps of 1/255, rounded down, as NumPy's conversion to bytes does it."""
    return images.clamp(0, 1).mul(WHITE).add(WHOLE).floor() / WHITE


def round_to_nearest(images: Tensor) -> Tensor:
    """The images 0 to 1 in whole steps of 1/255, rounded to the nearest, and halves up."""
    return images.clamp(0, 1).mul(WHITE).add(0.5 + WHOLE).floor() / WHITE


def to_bytes(images: Tensor) -> Tensor:
    """The images as bytes, rounded down; uint8."""
    return images.clamp(0, 1).mul(WHITE).add(WHOLE).floor().to(torch.uint8)
