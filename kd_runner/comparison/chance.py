"""The chance that a share of right predictions, or a difference of two, arises by chance: exact binomial tests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kd_runner.comparison.statistics import SURE, sign_test

if TYPE_CHECKING:
    from torch import Tensor

FEW = 30  # on fewer images, chance hides even a fair network
UNEQUAL = (
    1.5  # times its equal share: with so large a class, accuracy alone does not tell whether a network has learned
)


def largest_class(labels: Tensor) -> tuple[int, float]:
    """The most frequent of `labels` [N], and its share, the accuracy of a network that always predicts it."""
    counts = labels.bincount()
    label = int(counts.argmax())
    return label, int(counts[label]) / len(labels)


def has_large_class(largest: float, classes: float) -> bool:
    """True where the largest class is so large that accuracy alone does not tell whether a network has learned."""
    return largest * classes >= UNEQUAL


def share_of(right: Tensor) -> float:
    """The share, in [0, 1], of True in bool [N]."""
    return int(right.sum()) / len(right)


def p_of_difference(first: Tensor, second: Tensor) -> float:
    """Two-sided p of no difference between two networks on the same images (McNemar's test).

    Args:
        first, second: bool [N], True where a network is right.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return sign_test(only_first, only_first + only_second)


def p_of_at_least(hits: int, images: int, share: float) -> float:
    """Probability of `hits` right answers or more on `images` images, if each is right with probability `share`."""
    from scipy.special import bdtrc

    return float(bdtrc(hits - 1, images, share)) if hits > 0 else 1.0


def too_few_to_tell(images: int, largest: float) -> bool:
    """True where on so few images even a network halfway between chance and perfection may be chance.

    Args:
        largest: The share of the largest class among the images.
    """
    halfway = round(images * (1 + largest) / 2)
    return images < FEW or p_of_at_least(halfway, images, largest) >= SURE


def p_of_drop(share: float, images: int, reference: float, reference_images: int | None) -> float:
    """One-sided p of a share as low as this one if the reference still holds (a normal approximation, pooled).

    Args:
        share: Share of right answers, in [0, 1], on `images` images.
        reference: The share that was measured before.
        reference_images: Number of images of the reference; None where it is not known, for as many as `images`.
    """
    from scipy.special import ndtr

    first, second = images, reference_images or images
    pooled = (share * first + reference * second) / (first + second)
    error = math.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / first + 1 / second))
    return float(ndtr((share - reference) / error))
