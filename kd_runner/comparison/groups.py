"""Runs that differ in their seeds alone, and what one group gained over another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from kd_runner.comparison.statistics import RESAMPLES, Gain, interval, sign_test
from kd_runner.files.results import Run

if TYPE_CHECKING:
    from kd_runner.comparison.gap import Gap
    from kd_runner.comparison.statistics import Gain


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


def compare_groups(group: Group, reference: Group) -> dict[str, float]:
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
    images = compare_groups(group, group.baseline)
    if not images:
        return Gain(mean, seeds)
    return Gain(mean, seeds, images["low"], images["high"], images["p"], "images")


@dataclass
class Group:
    """Runs that differ in their seeds alone."""

    words: tuple[str, ...]
    runs: list[Run]
    name: str = ""
    gain: Gain | None = None
    gap: Gap | None = None
    against: dict[str, Any] = field(default_factory=dict)  # the reference: difference, low, high, p

    def values(self, *keys: str) -> np.ndarray:
        """float64 [runs that have it]: a number of each result, by its keys from outermost to innermost."""
        found = []
        for run in self.runs:
            value: Any = run.result
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found.append(value)
        return np.array(found, float)

    @property
    def accuracies(self) -> np.ndarray:
        return self.values("student", "accuracy")

    @property
    def gains(self) -> np.ndarray:
        """Student's accuracy less the baseline's, of each run with a baseline."""
        both = [run.result for run in self.runs if run.result.get("baseline")]
        return np.array([each["student"]["accuracy"] - each["baseline"]["accuracy"] for each in both])

    @property
    def baseline(self) -> Group:
        """The baselines of these runs, in the place of their students."""
        return self.in_place_of_students("baseline")

    def in_place_of_students(self, stage: str) -> Group:
        """The networks of another stage, of the runs that have it, where their students were."""
        runs = [run for run in self.runs if run.result.get(stage)]
        return Group(self.words, [replace(run, result={**run.result, "student": run.result[stage]}) for run in runs])

    @property
    def taught(self) -> bool:
        """Whether something was distilled into some of the students."""
        return any(run.taught for run in self.runs)
