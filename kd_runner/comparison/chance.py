"""How far a share of right answers is from chance: exact binomial tests."""

from __future__ import annotations

import math

from torch import Tensor

from kd_runner.comparison.statistics import sign_test


def largest_class(labels: Tensor) -> tuple[int, float]:
    """The commonest of `labels` [N], and its share: how often a network is right that always says it."""
    counts = labels.bincount()
    commonest = int(counts.argmax())
    return commonest, int(counts[commonest]) / len(labels)


def share_of(right: Tensor) -> float:
    """The share of 1 of the images that are right, of bool [N]."""
    return int(right.sum()) / len(right)


def p_of_difference(first: Tensor, second: Tensor) -> float:
    """Two-sided p of no difference between two readings, right or wrong [N], of the same images (McNemar's test)."""
    better, worse = int((first & ~second).sum()), int((second & ~first).sum())
    return sign_test(better, better + worse)


def p_of_at_least(hits: int, images: int, share: float) -> float:
    """Probability of so many right answers or more, were each right with probability `share`."""
    from scipy.special import bdtrc

    return float(bdtrc(hits - 1, images, share)) if hits > 0 else 1.0


def p_of_drop(share: float, images: int, earlier: float, earlier_images: int | None) -> float:
    """One-sided p of a share as low as this, were it the earlier one (a normal approximation, pooled).

    Args:
        earlier_images: How many images the earlier share was measured on; None where nobody knows.
    """
    from scipy.special import ndtr

    first, second = images, earlier_images or images
    pooled = (share * first + earlier * second) / (first + second)
    error = math.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / first + 1 / second))
    return float(ndtr((share - earlier) / error))
