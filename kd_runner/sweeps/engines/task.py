"""One command of a sweep, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Slot:
    """Where one job at a time runs.

    Args:
        number: None where the device's name says it all.
        device: Its name, for people.
        environment: What shows the job its device alone.
    """

    number: int | None
    device: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.device if self.number is None else f"{self.device} {self.number}"


@dataclass
class Task:
    """One command, and what became of it.

    Args:
        name: For people.
        words: Of the command, for its first attempt.
        again: Of the command where the folder holds the beginning of it.
        call: The function of the words, as module:function.
        after: Tasks that must have ended before.
        serves: The numbers of the jobs that wait for it.
        variables: Environment variables that it depends on, for processes that do not inherit them.
        code: The exit code, below 0 for a signal; None until it has ended.
        timed_out: It was stopped because it took too long.
        why: What ended it, in a line, where no code says so.
        started, first_started: When this attempt began, on the monotonic clock, and the first, since 1970.
        unwanted: It is to end, or has ended, because nobody needs it any longer.
    """

    name: str
    folder: Path
    words: Sequence[str]
    again: Sequence[str]
    call: str = "kd_runner.cli:command"
    after: Sequence[Task] = ()
    serves: frozenset[int] = frozenset()
    variables: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    code: int | None = None
    timed_out: bool = False
    why: str = ""
    started: float = 0.0
    first_started: float | None = None
    seconds: float = 0.0
    slot: Slot | None = None
    pid: int | None = None
    unwanted: bool = False
    _stop_at: float | None = field(default=None, repr=False)  # when SIGKILL follows

    def seen_at(self, slot: Slot) -> None:
        """Note that it runs there now, where others than us start it."""
        self.slot, self.attempts = slot, 1
        self.started, self.first_started = time.monotonic(), time.time()

    def gone_from(self, slot: Slot) -> None:
        """Note that it has ended, there where it was never seen to run."""
        self.slot = self.slot or slot
        self.seconds = time.monotonic() - self.started if self.started else 0.0


Event = Literal["start", "end", "retry"]
Notify = Callable[[Event, Task], None]  # called when something happens to a task
Tick = Callable[[Sequence[Task]], None]  # called a few times a second with those that run
