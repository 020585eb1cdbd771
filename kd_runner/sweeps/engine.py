"""What a launcher must offer: where tasks run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick
from kd_runner.sweeps.jobs import Job


class Engine(Protocol):
    """What runs jobs somewhere.

    Args:
        where: In a few words for people, such as '2 at a time on cpu'.
        elsewhere: On other machines than this one.
        examiner: Where all jobs are tried before any starts, in a process on this machine.
        threads: That each job has.
    """

    where: str
    elsewhere: bool
    examiner: Slot
    threads: int

    def refuse_running(self) -> None:
        """Raise SettingsError where jobs of an earlier sweep in the same folder still run."""

    def run(self, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        """Run all of them; what became of each is in it. Told to end, it leaves what the place needs and raises."""


class Launching(Protocol):
    """The settings of a launcher."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that a job may take; None for any number."""

    def engine(self, nursery: ForkServer, jobs: Sequence[Job], folder: Path) -> Engine:
        """What runs these jobs of the sweep in `folder`."""
