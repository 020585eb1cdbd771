"""The gap between a baseline and its teacher, and the share of it that the student closed.

This is the one rule for the terminal, the pages, the leaderboard and TensorBoard. There is a share where the teacher is
clearly better than the baseline on the test images and the student is no worse than the baseline. In all other cases
there is a reason in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.comparison.groups import Group, Pairs, gain_over_seeds
from kd_runner.comparison.statistics import SURE
from kd_runner.files.results import Run
from kd_runner.files.stages import STAGES

WORTH_SHARING = 0.005  # a share of a gap below half a point says little, however sure the gap is
ROUNDING = 1e-12  # the largest difference of two accuracies that are equal


@dataclass(frozen=True)
class Gap:
    """A student's gain over its baseline, and the share of the gap to its teacher that the gain closed.

    Args:
        gain: The student's accuracy on the test images less the baseline's, in [-1, 1].
        share: The gain divided by the teacher's accuracy less the baseline's; None where a share would mislead.
        reason: A clause that says why there is no share, to end a sentence with; empty where there is one.
        kind: The reason without its numbers, so that it is the same for several runs.
    """

    gain: float
    share: float | None
    reason: str
    kind: str


def gap_of(group: Group) -> Gap | None:
    """The gap of a group's runs, a mean over the runs with a teacher and a baseline; None where no run has both."""
    complete = Group(
        group.words, [run for run in group.runs if run.result.get("teacher") and run.result.get("baseline")]
    )
    teacher, baseline, student = (complete.mean(stage, "accuracy") for stage in STAGES)
    if teacher is None or baseline is None or student is None:
        return None
    if not complete.taught:
        return Gap(student - baseline, None, "nothing was distilled", "nothing was distilled")
    pairs = Pairs.of(*map(complete.in_place_of_students, ("teacher", "baseline")))
    if pairs is None:
        return gap(teacher, baseline, student)
    over_seeds = gain_over_seeds(pairs.sample) if pairs.has_other_images else None
    if over_seeds is not None:
        return gap(teacher, baseline, student, over_seeds.p, runs=over_seeds.seeds)
    return gap(teacher, baseline, student, pairs.p, len(pairs.difference))


def gap_in(result: Mapping[str, Any]) -> Gap | None:
    """The gap of one run, from its result; None where it has no teacher or no baseline."""
    return gap_of(Group((), [run_of(result)]))


def run_of(result: Mapping[str, Any]) -> Run:
    """A run made of its result alone."""
    return Run(Path(), tuple(result.get("overrides") or ()), (), dict(result))


def gap(teacher: float, baseline: float, student: float, p: float | None = None, images: int = 0, runs: int = 0) -> Gap:
    """The gap of three accuracies on the test images.

    Args:
        teacher, baseline, student: Accuracies in [0, 1].
        p: Probability of such a gap if teacher and baseline are equally good; None if not known.
        images: Number of the test images behind `p`, by McNemar's test.
        runs: Number of the runs behind `p`, by a paired t-test over runs with test images of their own.
    """
    gain, teachers_gain = student - baseline, teacher - baseline
    between = "the gap from baseline to teacher"
    if teachers_gain <= ROUNDING:
        kind = "the teacher is not better than the baseline on the test images, so there is no gap to close"
        return Gap(gain, None, kind, kind)
    if p is not None and p >= SURE:
        kind = f"is within chance over {runs} runs" if runs else f"is within chance on {images:,} test images"
        return Gap(gain, None, f"the gap of {in_points(teachers_gain)} to the teacher {kind}", f"{between} {kind}")
    if teachers_gain < WORTH_SHARING:
        kind = "is too small to take a share of"
        return Gap(gain, None, f"the gap of {in_points(teachers_gain)} to the teacher {kind}", f"{between} {kind}")
    if gain < -ROUNDING:
        kind = "the student fell below its baseline"
        return Gap(gain, None, f"{kind} by {in_points(-gain)}", kind)
    return Gap(gain, gain / teachers_gain, "", "")


def in_points(difference: float) -> str:
    """A difference of two accuracies in points of a percent: two digits, more where two would show 0."""
    digits = next((digits for digits in (2, 3, 4) if round(100 * abs(difference), digits)), 2)
    return f"{100 * difference:.{digits}f} points"
