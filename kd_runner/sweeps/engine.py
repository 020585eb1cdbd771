"""The interface of a launcher: a place where tasks run, and the settings that choose it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field, StrictBool

from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick, no_task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.grouping import Pack

Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Retries = Annotated[int, Field(strict=True, ge=0)]
FailFast = StrictBool  # whether the first job that fails ends the sweep


class Engine(Protocol):
    """A place where jobs run.

    Args:
        description: A few words for people, such as '2 at a time on cpu'.
        is_remote: True where jobs run on other machines than this one.
        check_slot: The slot, on this machine, of the process that checks all jobs before any starts.
        threads: The number of threads of each job.
        slot_count: The number of tasks that run at a time.
        jobs_per_task: The number of jobs, each in a process of its own, that a task has.
        memory_of_task: The bytes that a task may take, where the engine grants some.
    """

    description: str
    is_remote: bool
    check_slot: Slot
    threads: int
    slot_count: int
    jobs_per_task: int
    memory_of_task: int | None

    def refuse_running(self) -> None:
        """Raise SettingsError where jobs of an earlier sweep in the same folder still run."""

    def queued_names(self) -> set[str]:
        """The names of tasks of this sweep that are still queued or run from an earlier driver."""

    def adopt(self, folder: Path) -> None:
        """Find again what a driver that has ended, with `folder` for its files, left in a queue."""

    def run(
        self, tasks: Sequence[Task], notify: Notify, tick: Tick, next_task: Callable[[], Task | None] = no_task
    ) -> None:
        """Run all tasks, and write into each how it ended.

        Args:
            next_task: Called whenever there is room for one more task. Where it gives None and nothing runs, all have
                run.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end.
        """


class LauncherSettings(Protocol):
    """The settings of a launcher."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that a job may take; None for no limit."""

    @property
    def pack(self) -> Pack:
        """The largest number of jobs that run side by side in one process, or auto, or off."""

    @property
    def fail_fast(self) -> bool:
        """True where the first job that fails for good ends the sweep."""

    def engine(self, fork_server: ForkServer, jobs: Sequence[Job], folder: Path) -> Engine:
        """The engine that runs these jobs of the sweep in `folder`.

        Raises:
            SettingsError: settings that cannot work here.
        """
