"""Trials of a search that run side by side in one process: which of them, and how many are proposed at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.grouping import MOST, SHARE_OF_MEMORY, Pack, groups_of
from kd_runner.sweeps.search.study import SearchSettings


@dataclass(frozen=True)
class Together:
    """The rules by which the trials of a search share a process.

    Args:
        search: The settings of the search.
        pack: The launcher's setting.
        slots: The number of processes that run at a time.
        dividing_keys: The keys whose values change what trials could share: those that differ in one run apart.
        bytes_of_trial: An estimate of the memory that a trial takes.
        room: The bytes that all processes may take together; None where nobody knows.
    """

    search: SearchSettings
    pack: Pack
    slots: int
    dividing_keys: frozenset[str] = frozenset()
    bytes_of_trial: int = 0
    room: int | None = None

    def count_at(self, number: int) -> int:
        """The number of trials, from the one with that number on, that are proposed at once.

        A trial is only proposed before those in front of it have ended where that takes nothing from the sampler: as
        long as it draws at random, or where the person has said how many. A trial that may be pruned runs alone, so
        that its process can be ended.
        """
        if self.pack == "off" or self.search.pruning != "none":
            return 1
        trials_left = self.search.trials - number
        if self.pack != "auto":
            return max(1, min(trials_left, int(self.pack)))
        if self.search.sampler == "nsga2":  # the trials of a generation come from the one before
            trials_left = min(trials_left, self.search.startup_trials - number % self.search.startup_trials)
        elif self.search.sampler != "random":  # whatever learns from each trial: only its first ones are random
            trials_left = min(trials_left, self.search.startup_trials - number)
        return max(1, min(MOST, -(-trials_left // self.slots)))

    def groups(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """The trials in groups that run side by side."""
        if self.search.pruning != "none":
            return [[job] for job in jobs]
        by_number = {job.number: job for job in jobs}
        work = {str(number): self._work(job) for number, job in by_number.items()}
        sizes = {str(number): self.bytes_of_trial for number in by_number}
        largest = self.pack if self.pack in ("off", "auto") else max(2, int(self.pack))
        slots = 1  # `count_at` has spread the trials over the slots
        room = None if self.room is None else self.room // self.slots
        groups = groups_of(list(by_number), work, sizes, largest, slots, room)
        return [[by_number[number] for number in group] for group in groups]

    def _work(self, job: Job) -> str:
        pairs = (override.partition("=") for override in job.varying)
        return " ".join(value for key, _, value in pairs if key in self.dividing_keys)


def together_of(
    search: SearchSettings, pack: Pack, slots: int, jobs: Sequence[Job], report: Mapping[str, Any]
) -> Together:
    """The rules for a search whose jobs to check have been examined.

    Args:
        jobs: The first trial, and jobs that differ from it in one key each.
        report: The report of `kd_runner.sweeps.preflight.examine` about them.
    """
    first, work = jobs[0], report["shared_work"]
    dividing = {
        override.partition("=")[0]
        for job in jobs
        if work.get(str(job.number)) != work.get(str(first.number))
        for override in job.varying
        if override not in first.varying
    }
    largest = max(report["bytes"].values(), default=0)
    free = report["free_bytes"]
    room = None if free is None else int(free * SHARE_OF_MEMORY)
    return Together(search, pack, slots, frozenset(dividing), largest, room)
