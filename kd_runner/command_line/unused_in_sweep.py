"""What of a sweep's settings has no effect in which of its jobs, in lines. The driver says it, so no PyTorch here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

OVERRIDES = "overrides.json"  # what was typed for each job, beside the settings of the jobs that are checked
SHOWN = 3  # groups of jobs that are the same


def sentence(key: str, reason: str) -> str:
    """The line for one run."""
    return f"{key} has no effect: {reason}"


def sentences_of_sweep(
    jobs: Mapping[int, Sequence[str]], unused: Mapping[int, Mapping[str, str]], some: bool = True
) -> Iterator[str]:
    """A line for each key that has no effect in some jobs of a sweep.

    Args:
        jobs: What each job differs by from others.
        unused: The keys without effect and the reasons, by job.
        some: Also of the keys that count in other jobs.
    """
    alike = identical_jobs(jobs, unused)
    where: dict[str, list[int]] = defaultdict(list)
    for job, reasons in unused.items():
        for key in reasons:
            where[key].append(job)
    for key, numbers in where.items():
        if not some and len(numbers) < len(jobs):
            continue
        count = f"any of {len(jobs)} jobs" if len(numbers) == len(jobs) else f"{len(numbers)} of {len(jobs)} jobs"
        groups = [group for group in alike if set(group) <= set(numbers) and _varies(key, group, jobs)]
        same = "; ".join(f"{' and '.join(f'#{job}' for job in group)} are the same" for group in groups[:SHOWN])
        more = f", as are {len(groups) - SHOWN} more groups" if len(groups) > SHOWN else ""
        yield f"{key} has no effect in {count}: {unused[numbers[0]][key]}{'; ' if same else ''}{same}{more}"


def identical_jobs(jobs: Mapping[int, Sequence[str]], unused: Mapping[int, Mapping[str, str]]) -> list[list[int]]:
    """Groups of jobs that differ in nothing that has an effect."""
    from kd_runner.command_line.typed_words import (
        typed_settings,  # with Hydra's parser, which reports need not wait for
    )

    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for job, words in jobs.items():
        idle = unused.get(job, {})
        groups[tuple(word for word in words if not set(typed_settings([word])) <= set(idle))].append(job)
    return [group for group in groups.values() if len(group) > 1]


def _varies(key: str, group: Sequence[int], jobs: Mapping[int, Sequence[str]]) -> bool:
    from kd_runner.command_line.typed_words import typed_settings

    values = {repr(typed_settings(jobs[job]).get(key)) for job in group}
    return len(values) > 1
