"""Groups of runs that differ in their seeds alone, and the gain of one group over another."""

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


@dataclass(frozen=True)
class Pairs:
    """Two groups on the same test images, over the seeds that both have.

    Args:
        difference: int [images], the number of the group's runs that are right on an image less the reference's number.
        seeds: Number of runs in each of the two groups.
    """

    difference: np.ndarray
    seeds: int

    @staticmethod
    def of(group: Group, reference: Group) -> Pairs | None:
        """The pairs of two groups; None without common seeds."""
        partners = {(run.seeds, run.tested_on): run for run in reference.runs}
        pairs = [
            (run, partners[run.seeds, run.tested_on])
            for run in group.runs
            if run.correct is not None and (run.seeds, run.tested_on) in partners
        ]
        if not pairs:
            return None
        # Images are added up over seeds where they are the same images: the most frequent set of them.
        images = Counter(run.tested_on for run, _ in pairs).most_common(1)[0][0]
        answers = [(run.correct, partner.correct) for run, partner in pairs if run.tested_on == images]
        group_correct, reference_correct = (
            np.stack([correct for correct in column if correct is not None]) for column in zip(*answers, strict=True)
        )
        return Pairs((group_correct.astype(int) - reference_correct.astype(int)).sum(0), len(answers))

    @property
    def p(self) -> float:
        """Two-sided p of a sign test over the images that one of the two gets right more often."""
        return sign_test(int((self.difference > 0).sum()), int((self.difference != 0).sum()))


def compare_groups(group: Group, reference: Group) -> dict[str, float]:
    """The difference in accuracy on common seeds, its 95 % bootstrap interval, p, and the numbers of seeds and images.

    Empty without common seeds.
    """
    pairs = Pairs.of(group, reference)
    if pairs is None:
        return {}
    images = len(pairs.difference)
    # The bootstrap cannot tell images with equal differences apart, so it draws how many there are of each difference.
    differences, counts = np.unique(pairs.difference, return_counts=True)
    draws = np.random.default_rng(0).multinomial(images, counts / images, RESAMPLES)
    means = draws @ differences / (images * pairs.seeds)
    return {
        "difference": float(pairs.difference.mean() / pairs.seeds),
        "low": float(np.quantile(means, 0.025)),
        "high": float(np.quantile(means, 0.975)),
        "p": pairs.p,
        "seeds": pairs.seeds,
        "images": images,
    }


def gain_of(group: Group) -> Gain | None:
    """The gain of a group's runs over their baselines; None where no run has a baseline.

    Its p is a paired t-test over several seeds. With one seed it is McNemar's test on the test images, and the interval
    is a bootstrap over them.
    """
    gains = group.gains
    if not len(gains):
        return None
    mean, seeds = float(gains.mean()), len(gains)
    if seeds > 1 and gains.std() > 1e-12:  # equal gains say nothing about their spread
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
    against: dict[str, Any] = field(default_factory=dict)  # the reference's name, and `compare_groups` with it

    def values(self, *keys: str) -> np.ndarray:
        """A number of each result that has it, float64 [runs], by its keys from outermost to innermost."""
        values = []
        for run in self.runs:
            value: Any = run.result
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                values.append(value)
        return np.array(values, float)

    @property
    def accuracies(self) -> np.ndarray:
        return self.values("student", "accuracy")

    @property
    def gains(self) -> np.ndarray:
        """The student's accuracy less the baseline's, float64 [runs with a baseline]."""
        results = [run.result for run in self.runs if run.result.get("baseline")]
        return np.array([result["student"]["accuracy"] - result["baseline"]["accuracy"] for result in results])

    @property
    def baseline(self) -> Group:
        """A group whose students are the baselines of these runs."""
        return self.in_place_of_students("baseline")

    def in_place_of_students(self, stage: str) -> Group:
        """A group whose students are the networks of another stage, of the runs that have it."""
        runs = [run for run in self.runs if run.result.get(stage)]
        return Group(self.words, [replace(run, result={**run.result, "student": run.result[stage]}) for run in runs])

    @property
    def taught(self) -> bool:
        """True where something was distilled into one of the students."""
        return any(run.taught for run in self.runs)
