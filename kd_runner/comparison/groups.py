"""Groups of runs that differ in their seeds alone, and the gain of one group over another."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special

from kd_runner.comparison.equal_settings import Differing
from kd_runner.comparison.fold_samples import Sample, fold_key, sample_of
from kd_runner.comparison.sign_flips import SignFlips
from kd_runner.comparison.statistics import RESAMPLES, SURE, Gain, deviation_of, holm_factors, interval, mean_of
from kd_runner.files.results import Run
from kd_runner.files.scores import has_map

if TYPE_CHECKING:
    from kd_runner.comparison.gap import Gap


@dataclass(frozen=True)
class Pairs:
    """Two groups on the same test images, over the seeds that both have.

    Args:
        difference: int [images], the number of the group's runs that are right on an image less the reference's number:
            of runs with other test images (`data_seed`) those with the most frequent ones.
        gains: float64 [runs], the accuracy of each of the group's runs less the reference's of the same seeds.
        of_folds: The gains of a cross-validation as a sample; None without folds.
        repeats: The number of runs whose answers on an image are added up; None: that of all runs.
    """

    difference: np.ndarray
    gains: np.ndarray
    of_folds: Sample | None = None
    repeats: int | None = None

    @staticmethod
    def of(group: Group, reference: Group) -> Pairs | None:
        """The pairs of two groups; None without common seeds."""
        partners = {(run.seeds, run.tested_on): run for run in reference.runs}
        pairs = [
            (run, partners[run.seeds, run.tested_on])
            for run in group.runs
            if run.has_correct and (run.seeds, run.tested_on) in partners
        ]
        if not pairs:
            return None
        if any(run.fold is not None for run, _ in pairs):
            return _pairs_of_folds(pairs)
        differences = [_difference(run, partner) for run, partner in pairs]
        # Images are added up over seeds where they are the same images: the most frequent set of them.
        images = Counter(run.tested_on for run, _ in pairs).most_common(1)[0][0]
        same = [of_pair for of_pair, (run, _) in zip(differences, pairs, strict=True) if run.tested_on == images]
        return Pairs(np.stack(same).sum(0), np.array([of_pair.mean() for of_pair in differences]), repeats=len(same))

    @property
    def sample(self) -> Sample:
        """The gains as a sample: for folds, one for each."""
        return self.of_folds or Sample(self.gains)

    @property
    def seeds(self) -> int:
        """Number of runs in each of the two groups; of a cross-validation, that of folds."""
        return len(self.sample.values)

    @property
    def has_other_images(self) -> bool:
        """True where not all runs have the test images of `difference`, beside those of a cross-validation."""
        return self.of_folds is None and self.repeats not in (None, len(self.gains))

    @property
    def p(self) -> float:
        """Two-sided p of no difference over the images, of one seed McNemar's (`sign_flips`)."""
        return SignFlips(self.difference).p

    def interval(self, error: float = SURE) -> tuple[float, float]:
        """The interval of the mean gain over the images, without 0 exactly where `p` is below `error`.

        The exact interval takes the number of images on which the two differ as given; a bootstrap over the images
        (Efron 1979) does not, and is not exact where they are few. The interval spans both, but that an end of the
        bootstrap's never contradicts the exact test. Where no image differs, it is as wide as the largest share of
        images that may differ elsewhere, q, of which (1 - q)^images is half the error. Several seeds on an image are no
        more images.
        """
        if not self.difference.any():
            largest = 1 - (error / 2) ** (1 / len(self.difference))
            return -largest, largest
        scale = len(self.difference) * (self.repeats or len(self.gains))
        low, high = (end / scale for end in SignFlips(self.difference).interval(error))
        # The bootstrap cannot tell images with equal differences apart, so it draws how many there are of each.
        values, counts = np.unique(self.difference, return_counts=True)
        draws = np.random.default_rng(0).multinomial(len(self.difference), counts / counts.sum(), RESAMPLES)
        wide_low, wide_high = np.quantile(draws @ values / scale, (error / 2, 1 - error / 2)).tolist()
        return (
            low if wide_low <= 0 < low else min(low, wide_low),
            high if high < 0 <= wide_high else max(high, wide_high),
        )


def _difference(run: Run, partner: Run) -> np.ndarray:
    """1 for a test image that the first of two runs alone is right on, -1 for the second, else 0: int [images]."""
    correct, partners = run.correct, partner.correct
    assert correct is not None
    assert partners is not None
    return correct.astype(int) - partners.astype(int)


def _pairs_of_folds(pairs: Sequence[tuple[Run, Run]]) -> Pairs:
    """The pairs of two cross-validations: the images of all folds of one deal, each of which is in one fold."""
    differences: dict[tuple[str, str | None], list[np.ndarray]] = {}
    gains = []
    for run, partner in pairs:
        difference = _difference(run, partner)
        differences.setdefault(fold_key(run), []).append(difference)
        gains.append(difference.mean())
    deal = Counter(data_seed for data_seed, _ in differences).most_common(1)[0][0]
    of_deal = [of_fold for (data_seed, _), of_fold in differences.items() if data_seed == deal]
    repeats = min(map(len, of_deal))
    images = np.concatenate([np.stack(of_fold[:repeats]).sum(0) for of_fold in of_deal])
    values = np.array(gains)
    return Pairs(images, values, sample_of([run for run, _ in pairs], values), repeats)


def gain_over(group: Group, reference: Group, error: float = SURE) -> Gain | None:
    """The gain in accuracy over another group, on the seeds that both have; None without common seeds.

    The interval and p are as those of `gain_of`.
    """
    pairs = Pairs.of(group, reference)
    if pairs is None:
        return _gain_without_images(group, reference, error)
    return gain_over_seeds(pairs.sample, error) or _gain_over_images(pairs, float(pairs.sample.values.mean()), error)


def _gain_without_images(group: Group, reference: Group, error: float) -> Gain | None:
    """The gain over another group where no result says which images it is right on, as with mAP; None without seeds."""
    partners = {
        (run.seeds, run.tested_on): run.result["student"]["accuracy"] for run in reference.runs if has_map(run.result)
    }
    runs = [run for run in group.runs if has_map(run.result) and (run.seeds, run.tested_on) in partners]
    if not runs:
        return None
    gains = np.array([run.result["student"]["accuracy"] - partners[run.seeds, run.tested_on] for run in runs])
    sample = sample_of(runs, gains)
    return gain_over_seeds(sample, error) or Gain(float(sample.values.mean()), len(runs))


def gain_of(group: Group, error: float = SURE) -> Gain | None:
    """The gain of a group's runs over their baselines; None where no run has a baseline.

    Its p is a paired t-test over several seeds. With one seed it is McNemar's test on the test images, and the interval
    is one over them.

    Args:
        error: The chance of an interval that excludes 0 where there is no gain: 0.05 for a 95 % interval.
    """
    gains = group.gains
    if not len(gains):
        return None
    sample = sample_of(group.runs_with_baseline, gains)
    over_seeds = gain_over_seeds(sample, error)
    if over_seeds is not None:
        return over_seeds
    pairs, mean = Pairs.of(group, group.baseline), mean_of(sample.values)
    return _gain_over_images(pairs, mean, error) if pairs is not None else Gain(mean, len(sample.values))


def gain_over_seeds(sample: Sample, error: float = SURE) -> Gain | None:
    """A paired t-test of gains; None of one, or of equal gains, which say nothing about their spread."""
    gains = sample.values
    mean, seeds = mean_of(gains), len(gains)
    if seeds < 2 or deviation_of(gains, 0) <= 1e-12:
        return None
    half = interval(gains, error) * sample.widening
    t = mean / (deviation_of(gains) / np.sqrt(seeds) * sample.widening)
    p = 2 * float(special.stdtr(seeds - 1, -abs(t)))
    return Gain(mean, seeds, mean - half, mean + half, p, "folds" if sample.is_of_folds else "seeds")


def _gain_over_images(pairs: Pairs, mean: float, error: float) -> Gain:
    return Gain(mean, pairs.seeds, *pairs.interval(error), pairs.p, "images")


def accuracies_to_choose_by(groups: Sequence[Group]) -> tuple[list[float], Literal["validation", "test"]]:
    """The mean accuracy of each group's students, and the images that it is of.

    These are the validation images; the test images where a result does not say how good its student is on the former.
    """
    values = [group.val_accuracy for group in groups]
    known = [value for value in values if value is not None]
    if len(known) == len(groups):
        return known, "validation"
    return [group.mean("student", "accuracy") or 0.0 for group in groups], "test"


def by_data_set(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups that are ranked against one another: those of each data set, in their order."""
    of_data_set: dict[str, list[Group]] = {}
    for group in groups:
        of_data_set.setdefault(group.data_set, []).append(group)
    return list(of_data_set.values())


def corrected_gains(
    gains: Sequence[Gain | None],
    gain_at: Sequence[Callable[[float], Gain | None]],
    same_as: Sequence[int | None] | None = None,
) -> list[Gain | None]:
    """The gains of several rows, with p and interval corrected for the number of those that have a p.

    p is Holm's, and the interval is for the error that his correction leaves to the row, so that the two agree. Rows of
    the same students count once. One of them that has fewer seeds is no surer than the row that it is the same as: so
    the chance of an error in any row stays that of the rows that count.

    Args:
        gain_at: A function for each row, which gives its gain with an interval for a given error.
        same_as: The index, for each row, of the row with the same students that counts for both; None: itself.
    """
    p_of = {index: gain.p for index, gain in enumerate(gains) if gain is not None and gain.p is not None}
    counting = {index: index for index in p_of}
    for index, counting_row in enumerate(same_as or ()):
        if index in p_of and counting_row in p_of:
            counting[index] = counting_row
    counted = [index for index, counting_row in counting.items() if index == counting_row]
    factors = dict(zip(counted, holm_factors([p_of[index] for index in counted]), strict=True))
    corrected = list(gains)
    for index, p in p_of.items():
        counting_row = counting[index]
        factor = factors[counting_row]
        if counting_row != index and p > 0:
            factor = max(factor, factor * p_of[counting_row] / p)
        widened = gain_at[index](SURE / factor) if factor > 1 else gains[index]
        assert widened is not None
        corrected[index] = replace(widened, p=min(1.0, factor * p), rows=len(counted))
    return corrected


@dataclass
class Group:
    """Runs that differ in their seeds alone, and stay the same: what is asked of them often is computed once.

    Args:
        planned: The number of its runs that were begun or planned, with and without a result; 0 where it is not known.
        gain, corrected: The gain over the baselines, alone, and corrected for all rows with a teacher.
        against: The gain over the reference, corrected for all rows; None where there is none.
        reference: The name of the reference; empty for the reference itself and without one.
        differing: The overrides that led to several groups, of which this is one, each with the keys of the settings in
            which these groups differ.
        data_set: The data set that its runs were tested on; empty where all groups have the same.
        same_as: The group whose students are the same for every seed of this one, and which counts for both.
    """

    words: tuple[str, ...]
    runs: list[Run]
    name: str = ""
    planned: int = 0
    gain: Gain | None = None
    corrected: Gain | None = None
    gap: Gap | None = None
    against: Gain | None = None
    reference: str = ""
    differing: tuple[Differing, ...] = ()
    data_set: str = ""
    same_as: Group | None = field(default=None, repr=False)

    @property
    def lacking(self) -> int:
        """The number of its runs without a result."""
        return max(0, self.planned - len(self.runs))

    @functools.cached_property
    def val_accuracy(self) -> float | None:
        """The mean of the students' best accuracies on the validation images; None where a run has none."""
        keys = ("student", "best_val", "val_accuracy")
        return self.mean(*keys) if len(self.values(*keys)) == len(self.runs) else None

    def values(self, *keys: str) -> np.ndarray:
        """A number of each result that has it, float64 [runs], by its keys from outermost to innermost."""
        return np.array([value for value in self._parts(keys) if value is not None], float)

    def mean(self, *keys: str) -> float | None:
        """The mean of a number of each result that has it, by its keys as in `values`; None where no result has it.

        Of a cross-validation it is the mean over folds, each the mean over its seeds: a fold with more seeds counts no
        more than the others, as in the interval and the p of the gain.
        """
        numbers = [(run, value) for run, value in zip(self.runs, self._parts(keys), strict=True) if value is not None]
        if not numbers:
            return None
        values = np.array([value for _, value in numbers], float)
        return mean_of(sample_of([run for run, _ in numbers], values).values if self.has_folds else values)

    def _parts(self, keys: tuple[str, ...]) -> list[Any]:
        """The values that keys lead to in each result, None where there is none; objects on the way are remembered."""
        if not keys:
            return [run.result for run in self.runs]
        outer = keys[:-1]
        holders = self._holders.get(outer)
        if holders is None:
            holders = self._holders[outer] = self._parts(outer)
        key = keys[-1]
        return [holder.get(key) if isinstance(holder, dict) else None for holder in holders]

    @functools.cached_property
    def _holders(self) -> dict[tuple[str, ...], list[Any]]:
        return {}

    @functools.cached_property
    def accuracies(self) -> np.ndarray:
        return self.values("student", "accuracy")

    @functools.cached_property
    def gains(self) -> np.ndarray:
        """The student's accuracy less the baseline's, float64 [runs with a baseline]."""
        results = [run.result for run in self.runs_with_baseline]
        return np.array([result["student"]["accuracy"] - result["baseline"]["accuracy"] for result in results])

    @functools.cached_property
    def runs_with_baseline(self) -> list[Run]:
        """The runs that have a baseline to compare with."""
        return [run for run in self.runs if run.result.get("baseline")]

    @functools.cached_property
    def has_folds(self) -> bool:
        """True for the runs of a cross-validation."""
        return any(run.fold is not None for run in self.runs)

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
