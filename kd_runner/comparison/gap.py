"""How much of the gap between a baseline and its teacher the student closed, and when that is no percentage.

The one rule for the terminal, the pages, the leaderboard and TensorBoard. A share is told where the teacher is clearly
better than the baseline on the test images and the student no worse than it; anything else is told in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_runner.comparison.groups import Group, Pairs
from kd_runner.comparison.statistics import SURE
from kd_runner.files.results import Run

WORTH_SHARING = 0.005  # a share of a smaller gap than half a point says little, however sure the gap is
ROUNDING = 1e-12  # differences of equal accuracies


@dataclass(frozen=True)
class Gap:
    """What a student won over its baseline, beside what its teacher has over it.

    Args:
        gain: The student's accuracy on the test images less the baseline's, in [-1, 1].
        share: The part of the gap to the teacher that this is; None where a share would mislead.
        reason: Why there is no share, a clause that can end a sentence; empty where there is one.
        kind: The same of several runs alike, without what differs between them.
    """

    gain: float
    share: float | None
    reason: str
    kind: str


def gap_of(group: Group) -> Gap | None:
    """The gap of a group's runs, the mean over those that have a teacher and a baseline; None where none has both."""
    both = [run for run in group.runs if run.result.get("teacher") and run.result.get("baseline")]
    if not both:
        return None
    teacher, baseline, student = (
        float(np.mean([run.result[stage]["accuracy"] for run in both])) for stage in ("teacher", "baseline", "student")
    )
    if not any(run.taught for run in both):
        return Gap(student - baseline, None, "nothing was distilled", "nothing was distilled")
    pairs = Pairs.of(*(Group(group.words, both).in_place_of_students(stage) for stage in ("teacher", "baseline")))
    return gap(teacher, baseline, student, *((pairs.p, len(pairs.difference)) if pairs is not None else ()))


def gap_in(result: Mapping[str, Any]) -> Gap | None:
    """The gap of one run, from its result."""
    return gap_of(Group((), [run_of(result)]))


def run_of(result: Mapping[str, Any]) -> Run:
    """The run of a result, wherever that is kept."""
    return Run(Path(), tuple(result.get("overrides") or ()), (), dict(result))


def gap(teacher: float, baseline: float, student: float, p: float | None = None, images: int = 0) -> Gap:
    """The gap of three accuracies on the test images, in [0, 1].

    Args:
        p: Of teacher and baseline being equally good, by McNemar's test; None where that is not known.
        images: On how many test images it was found.
    """
    gain, whole = student - baseline, teacher - baseline
    between = "the gap from baseline to teacher"
    if whole <= ROUNDING:
        kind = "the teacher is not better than the baseline on the test images, so there is no gap to close"
        return Gap(gain, None, kind, kind)
    if p is not None and p >= SURE:
        kind = f"is within chance on {images:,} test images"
        return Gap(gain, None, f"the gap of {in_points(whole)} to the teacher {kind}", f"{between} {kind}")
    if whole < WORTH_SHARING:
        kind = "is too small to take a share of"
        return Gap(gain, None, f"the gap of {in_points(whole)} to the teacher {kind}", f"{between} {kind}")
    if gain < -ROUNDING:
        kind = "the student fell below its baseline"
        return Gap(gain, None, f"{kind} by {in_points(-gain)}", kind)
    return Gap(gain, gain / whole, "", "")


def in_points(difference: float) -> str:
    """A difference of two accuracies in words, with as many digits as it takes to be none that is called 0."""
    digits = next((digits for digits in (2, 3, 4) if round(100 * abs(difference), digits)), 2)
    return f"{100 * difference:.{digits}f} points"
