"""Statistics of a difference in accuracy: intervals over seeds, and paired tests over seeds and over test images.

The interval of a mean over seeds is Student's t. Two groups are compared on the seeds that both have, image by image of
the same test images. The interval of their difference is a bootstrap over the images (Efron 1979). Its p is an exact
sign test over the images that one of the two gets right more often; with one seed this is McNemar's test (1947).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

RESAMPLES = 10_000  # of the bootstrap
SURE = 0.05  # a p below this counts as a difference


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean of `values` [N] (Student's t); NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))


def sign_test(better: int, discordant: int) -> float:
    """Two-sided p of `better` wins or as many losses in `discordant` trials, if win and loss are equally likely."""
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(better, discordant - better), discordant, 0.5)))


@dataclass(frozen=True)
class Gain:
    """The gain that a student has from its teacher: its accuracy less the baseline's.

    Args:
        mean: Mean over the seeds, in [-1, 1].
        seeds: Number of runs.
        low, high: Ends of the 95 % interval; None, like `p`, where nothing says how sure the mean is.
        p: Two-sided p of no gain at all.
        over: The sample of the interval and of p: seeds where there are several, else test images.
    """

    mean: float
    seeds: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    over: Literal["seeds", "images"] | None = None


def holm(values: Sequence[float]) -> list[float]:
    """The p values, in their order, corrected for their number (Holm 1979)."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected
