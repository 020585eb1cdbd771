"""How sure a difference in accuracy is: intervals over seeds, and paired tests over seeds and over test images.

Intervals of a mean over seeds are Student's t. Two groups are compared on the seeds that both have, image by image of
the same test images: a bootstrap over the images (Efron 1979) of the difference in accuracy, and an exact sign test of
the images that one of the two gets right more often, which for one seed is McNemar's (1947).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

RESAMPLES = 10_000
SURE = 0.05  # a p below it counts as a difference


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean (Student's t); NaN of fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))


def sign_test(better: int, discordant: int) -> float:
    """Two-sided p of that many better ones among the discordant, were each as likely as the other."""
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(better, discordant - better), discordant, 0.5)))


@dataclass(frozen=True)
class Gain:
    """What the teacher gave the student: the student's accuracy less the baseline's, in [-1, 1].

    Args:
        low, high: Of the 95 % interval; None where nothing says how sure the mean is, as for p.
        p: Two-sided, of no gain at all.
        over: What the interval and p are drawn over: seeds where there are several, else test images.
    """

    mean: float
    seeds: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    over: Literal["seeds", "images"] | None = None


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for how many they are (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected
