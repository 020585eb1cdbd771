"""The progress of the check of a sweep's jobs: a line on a terminal, few lines elsewhere, none for a quick check."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kd_runner.files import atomic
from kd_runner.formats import stopwatch
from kd_runner.terminal import is_terminal, lines_above

log = logging.getLogger(__name__)

MANY = 50  # jobs from which it is shown
SHOWN_FROM = 2.0  # seconds
ON_TERMINAL, ELSEWHERE = 0.25, 15.0  # seconds between two lines
REPORTED = 0.5  # seconds between two reports of the process that tries the jobs


class CheckProgress:
    """Shows how many of the jobs have been composed or tried, from `SHOWN_FROM` on.

    Args:
        verb: The word for what happens to the jobs, such as 'composing'.
        count: The number of jobs.
        console: The terminal; None where standard output is none.
    """

    def __init__(self, verb: str, count: int, console: Console | None = None) -> None:
        self.verb, self.count = verb, count
        self.console = console or (Console() if is_terminal() else None)
        self._started = time.monotonic()
        self._next = self._started + SHOWN_FROM
        self._live: Live | None = None
        self._shown = ExitStack()

    def __enter__(self) -> CheckProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def show(self, done: int) -> None:
        """Show that so many jobs are done, unless a line was shown a moment ago."""
        now = time.monotonic()
        if now < self._next or self.count < MANY:
            return
        elapsed = now - self._started
        time_left = f", about {stopwatch(elapsed / done * (self.count - done))} left" if done else ""
        line = f"{self.verb:<9} {done} of {self.count} jobs{time_left}"
        if self.console is None:
            self._next = now + ELSEWHERE
            log.info("%s", line)
            return
        self._next = now + ON_TERMINAL
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._shown.enter_context(lines_above(self._live))
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)


class ProgressFile:
    """The number of jobs that a process has tried, in a file that another process reads."""

    def __init__(self, path: Path) -> None:
        self._path, self._next = path, 0.0

    def write(self, done: int) -> None:
        """Write the number, unless that was done a moment ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REPORTED
            atomic.write_json(self._path, {"done": done}, survives_power_cut=False)


def read_progress(path: Path) -> int:
    """The number in such a file; 0 where there is none."""
    done = atomic.read_json(path).get("done")
    return done if isinstance(done, int) else 0
