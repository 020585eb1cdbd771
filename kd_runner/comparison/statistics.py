"""Statistics of a difference in accuracy: intervals and tests over seeds and over test images, and Holm's correction.

Over seeds, the interval of a mean is Student's t, and its p the paired t-test's. Over test images, see `sign_flips`.
The interval and the p of a row always agree: the interval excludes 0 exactly where p is below 0.05. So that they still
do where p is corrected for the number of rows, the interval is made for the error that Holm's correction leaves to that
row (`holm_factors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

RESAMPLES = 10_000  # of the bootstrap
SURE = 0.05  # a p below this counts as a difference


def mean_of(values: np.ndarray) -> float:
    """The mean of `values` float64 [N], N of 1 or more, to the bit that of `values.mean()`.

    NumPy's methods take 5 to 20 µs for the seeds of a row, this takes 1: a report of thousands of rows has many means.
    """
    return float(np.add.reduce(values) / len(values))


def deviation_of(values: np.ndarray, ddof: int = 1) -> float:
    """The standard deviation of `values` float64 [N], N above `ddof`, to the bit that of `values.std(ddof=ddof)`."""
    differences = values - np.add.reduce(values) / len(values)
    return float(np.sqrt(np.add.reduce(differences * differences) / (len(values) - ddof)))


def interval(values: np.ndarray, error: float = SURE) -> float:
    """Half the width of the interval of the mean of `values` [N] (Student's t); NaN for fewer than two values.

    Args:
        error: The chance of an interval without the mean: 0.05 for a 95 % interval.
    """
    if len(values) < 2:
        return float("nan")
    return float(special.stdtrit(len(values) - 1, 1 - error / 2) * deviation_of(values) / np.sqrt(len(values)))


def wilson_interval(share: float, trials: int, error: float = SURE) -> tuple[float, float]:
    """The ends of the interval of a share that was seen in so many trials, 1 or more (Wilson 1927).

    It lies within [0, 1], and is not empty where the share is 0 or 1.

    Args:
        error: The chance of an interval without the true share: 0.05 for a 95 % interval.
    """
    z = float(special.ndtri(1 - error / 2))
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * (share * (1 - share) / trials + z**2 / (4 * trials**2)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def sign_test(better: int, discordant: int) -> float:
    """Two-sided p of `better` wins or as many losses in `discordant` trials, if win and loss are equally likely."""
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(better, discordant - better), discordant, 0.5)))


@dataclass(frozen=True)
class Gain:
    """The gain that a student has from its teacher, its accuracy less the baseline's, or that over another group.

    The interval excludes 0 exactly where p is below 0.05.

    Args:
        mean: Mean over the seeds, in [-1, 1].
        seeds: Number of runs; of a cross-validation, that of folds.
        low, high: Ends of the 95 % interval; None, like `p`, where nothing says how sure the mean is.
        p: Two-sided p of no gain at all.
        over: The sample of the interval and of p: seeds or folds where there are several, else test images.
        rows: The number of rows that p and the interval are corrected for; 1 where they are not.
    """

    mean: float
    seeds: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    over: Literal["seeds", "folds", "images"] | None = None
    rows: int = 1


def holm_factors(values: Sequence[float]) -> list[float]:
    """The factor by which the correction of Holm (1979) multiplies each p value, between 1 and their number.

    An interval for 0.05 divided by a row's factor excludes 0 exactly where the row's corrected p is below 0.05. The
    chance that the interval of any row without a true difference excludes 0 is then at most 5 %, as Holm's p promises.
    The row with the lowest p has Bonferroni's factor, the number of rows: its interval is a simultaneous one in the
    strict sense. The others are narrower. Bonferroni's for all would hold all true differences together with 95 %, but
    might have 0 in it where Holm's p is below 0.05; those that do both end at 0 for most rows that differ (Strassburger
    and Bretz 2008), and say nothing of the size.
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    factors, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(values) - rank) * values[index])
        factors[index] = largest / values[index] if values[index] > 0 else float(len(values))
    return factors
