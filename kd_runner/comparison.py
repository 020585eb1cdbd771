"""How sure a difference in accuracy is: intervals over seeds, and paired tests over seeds and over test images.

Intervals of a mean over seeds are Student's t. Two groups are compared on the seeds that both have, image by image of
the same test images: a bootstrap over the images (Efron 1979) of the difference in accuracy, and an exact sign test of
the images that one of the two gets right more often, which for one seed is McNemar's (1947).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from kd_runner.results import Group

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
class Pairs:
    """Two groups on the same test images, over the seeds that both have.

    Args:
        difference: int [images], how many more of the group's runs than of the reference's are right on each image.
        seeds: How many runs each of the two has.
    """

    difference: np.ndarray
    seeds: int

    @staticmethod
    def of(group: Group, reference: Group) -> Pairs | None:
        """The pairs of two groups; None without common seeds."""
        references = {(run.seeds, run.tested_on): run for run in reference.runs}
        pairs = [(run, references.get((run.seeds, run.tested_on))) for run in group.runs if run.correct is not None]
        tested = Counter(run.tested_on for run, other in pairs if other is not None)
        if not tested:
            return None
        commonest = tested.most_common(1)[0][0]  # images are added up over seeds where they are the same images
        both = [
            (run.correct, other.correct) for run, other in pairs if other is not None and run.tested_on == commonest
        ]
        group_correct, reference_correct = (
            np.stack([correct for correct in column if correct is not None]) for column in zip(*both, strict=True)
        )
        return Pairs((group_correct.astype(int) - reference_correct.astype(int)).sum(0), len(both))

    @property
    def p(self) -> float:
        """Two-sided p of a sign test of the images that one of the two gets right more often."""
        return sign_test(int((self.difference > 0).sum()), int((self.difference != 0).sum()))


def compared(group: Group, reference: Group) -> dict[str, float]:
    """Difference in accuracy on common seeds, its 95 % bootstrap interval, p, and over how many images.

    Empty without common seeds.
    """
    pairs = Pairs.of(group, reference)
    if pairs is None:
        return {}
    images = len(pairs.difference)
    # Images with equal differences are alike to the bootstrap, so it draws how many there are of each kind.
    kinds, counts = np.unique(pairs.difference, return_counts=True)
    draws = np.random.default_rng(0).multinomial(images, counts / images, RESAMPLES)
    means = draws @ kinds / (images * pairs.seeds)
    return {
        "difference": float(pairs.difference.mean() / pairs.seeds),
        "low": float(np.quantile(means, 0.025)),
        "high": float(np.quantile(means, 0.975)),
        "p": pairs.p,
        "seeds": pairs.seeds,
        "images": images,
    }


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


def gain_of(group: Group) -> Gain | None:
    """The gain of a group's runs over their baselines; None where no run has one.

    Over several seeds a paired t-test, over one a bootstrap and McNemar's test on its test images.
    """
    gains = group.gains
    if not len(gains):
        return None
    mean, seeds = float(gains.mean()), len(gains)
    if seeds > 1 and gains.std() > 1e-12:  # equal ones say nothing about their spread
        half = interval(gains)
        t = mean / (gains.std(ddof=1) / np.sqrt(seeds))
        return Gain(mean, seeds, mean - half, mean + half, 2 * float(special.stdtr(seeds - 1, -abs(t))), "seeds")
    images = compared(group, group.baseline)
    if not images:
        return Gain(mean, seeds)
    return Gain(mean, seeds, images["low"], images["high"], images["p"], "images")


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for how many they are (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected
