"""One command of a sweep, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kd_runner.errors import TERMINATED

COMMAND = "kd_runner.cli:command"  # the function that runs a command, as module:function


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time.

    Args:
        number: Tells slots of the same device apart; None where the device's name is enough.
        device: The name of the device, for people.
        environment: Environment variables that show the job no device but this one.
    """

    number: int | None
    device: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.device if self.number is None else f"{self.device} {self.number}"


@dataclass(eq=False)
class Task:
    """One command, and how it ended.

    Args:
        name: The name, for people.
        words: The words of the command for its first attempt.
        again: The words of the command where the folder holds the beginning of a run.
        call: The function that is called with the words, as module:function.
        after: Tasks that must have ended before.
        serves: The numbers of the jobs that wait for it.
        variables: Environment variables that it depends on, for processes that do not inherit them.
        code: The exit code, below 0 for a signal; None until it has ended.
        timed_out: True where it was stopped because it took too long.
        reason: One line that says why it ended, where no code says so.
        started, first_started: The start of this attempt on the monotonic clock, and of the first one since 1970.
        slot: The place where it runs or ran.
        stop_at: The time of SIGKILL on the monotonic clock; None as long as the task was not told to end.
        unwanted: True where nobody needs it any longer, so that it is to end or has ended, or is not to start.
        why_unwanted: The reason for that, in a few words.
        title: The name that says in a cluster's queue what it runs; empty where nothing does.
        members: The tasks of the jobs that it runs side by side; none for a command of one job.
    """

    name: str
    folder: Path
    words: Sequence[str]
    again: Sequence[str]
    call: str = COMMAND
    after: Sequence[Task] = ()
    serves: frozenset[int] = frozenset()
    variables: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    code: int | None = None
    timed_out: bool = False
    reason: str = ""
    started: float = 0.0
    first_started: float | None = None
    seconds: float = 0.0
    slot: Slot | None = None
    stop_at: float | None = None
    unwanted: bool = False
    why_unwanted: str = ""
    members: Sequence[Task] = ()
    title: str = ""

    @property
    def is_ready(self) -> bool:
        """True where all tasks have ended that must end before."""
        return all(task.code is not None for task in self.after)

    def note_start(self, slot: Slot) -> None:
        """Note that the task now runs in `slot`, where a cluster started it."""
        self.slot, self.attempts = slot, 1
        self.started, self.first_started = time.monotonic(), time.time()

    def note_end(self, slot: Slot) -> None:
        """Note that the task has ended, in `slot` where nobody saw it run."""
        self.slot = self.slot or slot
        self.seconds = time.monotonic() - self.started if self.started else 0.0


def drop_unwanted(waiting: list[Task]) -> None:
    """Take the tasks from `waiting` that are not to start, and have them count as ended."""
    for task in [task for task in waiting if task.unwanted]:
        waiting.remove(task)
        task.code = TERMINATED


def no_task() -> Task | None:
    """The next task of an engine that has only those it is given."""
    return None


Event = Literal["start", "end", "retry"]
Notify = Callable[[Event, Task], None]  # called when a task starts, ends or is to be started again
Tick = Callable[[Sequence[Task]], None]  # called a few times a second with the tasks that run
