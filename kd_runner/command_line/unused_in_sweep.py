"""Settings without effect in some jobs of a sweep, in lines. The driver prints them, so this imports no PyTorch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from kd_runner.formats import number_of

OVERRIDES = "overrides.json"  # the file of each job's overrides, beside the settings of the jobs that are checked
SHOWN = 3  # groups of jobs that are the same


def sentence(key: str, reason: str) -> str:
    """The line about a setting without effect in one run."""
    return f"{key} has no effect: {reason}"


def sentences_of_sweep(
    jobs: Mapping[int, Sequence[str]], unused: Mapping[int, Mapping[str, str]], partly: bool = True
) -> Iterator[str]:
    """A line for each key that has no effect in some jobs of a sweep.

    Args:
        jobs: The overrides in which each job differs from others, by its number.
        unused: The keys without effect and the reasons, by job.
        partly: Give lines also for keys that have an effect in other jobs.
    """
    identical = identical_jobs(jobs, unused)
    jobs_of: dict[str, list[int]] = defaultdict(list)  # by key
    for job, reasons in unused.items():
        for key in reasons:
            jobs_of[key].append(job)
    for key, numbers in jobs_of.items():
        if not partly and len(numbers) < len(jobs):
            continue
        count = f"{'any' if len(numbers) == len(jobs) else len(numbers)} of {len(jobs)} jobs"
        count = count if len(jobs) > 1 else "the only job"
        groups = [group for group in identical if set(group) <= set(numbers) and _varies(key, group, jobs)]
        same = "; ".join(f"{' and '.join(f'#{job}' for job in group)} are the same" for group in groups[:SHOWN])
        more = f", as are those of {number_of(len(groups) - SHOWN, 'more group')}" if len(groups) > SHOWN else ""
        yield f"{key} has no effect in {count}: {unused[numbers[0]][key]}{'; ' if same else ''}{same}{more}"


def identical_jobs(jobs: Mapping[int, Sequence[str]], unused: Mapping[int, Mapping[str, str]]) -> list[list[int]]:
    """Groups of jobs that differ in nothing that has an effect."""
    from kd_runner.command_line.typed_words import typed_settings  # Hydra's parser, which reports need not wait for

    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for job, words in jobs.items():
        idle = unused.get(job, {})
        groups[tuple(word for word in words if not set(typed_settings([word])) <= set(idle))].append(job)
    return [group for group in groups.values() if len(group) > 1]


def _varies(key: str, group: Sequence[int], jobs: Mapping[int, Sequence[str]]) -> bool:
    """True where the jobs of `group` differ in `key`."""
    from kd_runner.command_line.typed_words import typed_settings

    values = {repr(typed_settings(jobs[job]).get(key)) for job in group}
    return len(values) > 1
