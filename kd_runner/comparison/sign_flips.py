"""Paired images whose differences would be as likely with the other sign, if nothing differed: an exact test.

Of each test image there is a number: how many runs of one group are right on it, less how many of the other. If the
groups are equally good, each number might as well have the other sign (Fisher 1935). With one run in each group this
is McNemar's test (1947) in its exact form. The interval comes from the same distribution, tilted: an image whose
difference is ±k has the sign + with the probability 1 / (1 + exp(-2 θ k)), and the interval of θ holds every value that
the test would not refuse. With one run it is that of Clopper and Pearson (1934). Test and interval always agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from kd_runner.comparison.statistics import SURE, sign_test

STEEPEST = 40.0  # of a tilt: the probability of the rarer sign is then 1e-35
STEPS = 60  # of a bisection, which halve the error each


class SignFlips:
    """The differences of paired images, under random signs.

    Args:
        differences: int [images].
    """

    def __init__(self, differences: np.ndarray) -> None:
        magnitudes = np.abs(differences[differences != 0])
        self.sizes, self.counts = (values.tolist() for values in np.unique(magnitudes, return_counts=True))
        self.sum, self.largest = int(differences.sum()), int(magnitudes.sum())

    @property
    def p(self) -> float:
        """Two-sided p of a sum as far from 0 as this one, if both signs are equally likely."""
        if len(self.sizes) == 1:
            (size,), (count,) = self.sizes, self.counts
            return sign_test((self.sum // size + count) // 2, count)
        if not self.sizes:
            return 1.0
        chances = self._chances(0.0)
        return min(1.0, 2 * float(chances[abs(self.sum) + self.largest :].sum()))

    def interval(self, error: float = SURE) -> tuple[float, float]:
        """The interval of the sum of the differences; it has 0 in it exactly where `p` is `error` or more."""
        if not self.sizes:
            return 0.0, 0.0
        # One distribution, tilted to lie about the sum: none of its numbers that count is too small for a float.
        target = self.sum * self.largest / (self.largest + 2 * self.sizes[-1])
        base = _bisect(lambda tilt: self._expectation(tilt) < target)
        sums = np.arange(-self.largest, self.largest + 1)
        with np.errstate(divide="ignore"):
            logs = np.log(self._chances(base))
        reached = sums >= self.sum

        def share(tilt: float, of: np.ndarray) -> float:
            tilted = logs + (tilt - base) * sums
            tilted = np.exp(tilted - tilted.max())
            return float(tilted[of].sum() / tilted.sum())

        low = _bisect(lambda tilt: share(tilt, reached) < error / 2)
        high = _bisect(lambda tilt: share(tilt, sums <= self.sum) >= error / 2)
        return (
            -float(self.largest) if self.sum == -self.largest else self._expectation(low),
            float(self.largest) if self.sum == self.largest else self._expectation(high),
        )

    def _expectation(self, tilt: float) -> float:
        pairs = zip(self.sizes, self.counts, strict=True)
        return float(sum(count * size * math.tanh(tilt * size) for size, count in pairs))

    def _chances(self, tilt: float) -> np.ndarray:
        """The probabilities of all sums, from the lowest to the largest, at a tilt."""
        chances = np.ones(1)
        for size, count in zip(self.sizes, self.counts, strict=True):
            positive = np.arange(count + 1)
            logs = special.gammaln(count + 1) - special.gammaln(positive + 1) - special.gammaln(count - positive + 1)
            logs += positive * special.log_expit(2 * tilt * size) + positive[::-1] * special.log_expit(-2 * tilt * size)
            spread = np.zeros(2 * size * count + 1)
            spread[:: 2 * size] = np.exp(logs)
            chances = np.convolve(chances, spread)
        return chances


def _bisect(below: Callable[[float], bool]) -> float:
    """The tilt at which a condition that holds for low tilts ceases to hold."""
    low, high = -STEEPEST, STEEPEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low
