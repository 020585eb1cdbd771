"""Rows whose students are the same for every seed: other words of the same loss, or settings without an effect.

They are one hypothesis: a correction for the number of rows counts them once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from kd_runner.comparison.groups import Group
from kd_runner.files.results import Run


def mark_equal_students(groups: Sequence[Group]) -> None:
    """Give each group whose students are those of another one, for every seed that it has, that group as `same_as`.

    Of several such groups it is that with the most seeds, the first of equals.
    """
    having: dict[Hashable, list[tuple[Group, set[Hashable]]]] = {}
    for group in sorted(groups, key=lambda group: -len(group.runs)):
        students = {_student(run) for run in group.runs}
        if None in students or not students:
            continue
        known = having.get(next(iter(students)), [])
        group.same_as = next((known_group for known_group, of_other in known if students <= of_other), None)
        if group.same_as is None:
            for student in students:
                having.setdefault(student, []).append((group, students))


def _student(run: Run) -> Hashable | None:
    """The numbers of a student and its baseline to the last digit, with the seeds; None where a result lacks them."""
    student, baseline = run.result["student"], run.result.get("baseline") or {}
    curve = student.get("val_accuracies")
    if student.get("nll") is None or not curve:
        return None
    numbers = [of_stage.get(name) for of_stage in (student, baseline) for name in ("accuracy", "nll", "ece")]
    bits = (student.get("correct") or {}).get("bits")
    return run.seeds, run.tested_on, *numbers, bits, *curve
