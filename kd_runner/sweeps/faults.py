"""The faults of a sweep's jobs in lines: one that several jobs have is said once, with how many have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kd_runner.formats import number_of

MOST_LINES = 10  # faults that are told one by one


class Fault(NamedTuple):
    """Why a job cannot work.

    Args:
        job: The job's number and its overrides, such as '#3 (seed=1)'.
        reason: One line.
    """

    job: str
    reason: str


def fault_lines(faults: Sequence[Fault], count: int) -> list[str]:
    """A line for each reason, in their order, and one that counts the jobs with further reasons.

    Args:
        count: The number of all jobs, those without a fault included.
    """
    jobs_of: dict[str, list[str]] = {}  # by reason
    for fault in faults:
        jobs_of.setdefault(fault.reason, []).append(fault.job)
    lines = [f"{_subject(jobs, count)}{reason}" for reason, jobs in list(jobs_of.items())[:MOST_LINES]]
    unlisted = sum(map(len, list(jobs_of.values())[MOST_LINES:]))
    return [*lines, f"and {number_of(unlisted, 'more job')} cannot work, for other reasons"] if unlisted else lines


def _subject(jobs: Sequence[str], count: int) -> str:
    """The jobs with the same fault, and a colon; nothing for the only job of a sweep."""
    if len(jobs) == 1:
        return f"job {jobs[0]}: " if count > 1 else ""
    return f"all {count:,} jobs: " if len(jobs) == count else f"{len(jobs):,} of {count:,} jobs, such as {jobs[0]}: "
