"""How a sweep goes: one screen that follows it on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kd_runner.files.results import Run, read_run
from kd_runner.files.run_folder import RESULT
from kd_runner.sweeps.engines.task import Event, Task
from kd_runner.terminal import lines_above

if TYPE_CHECKING:
    from kd_runner.sweeps.jobs import Job


log = logging.getLogger(__name__)

ROOMY = 72  # columns from which a line has room for more than a job and its stage
BELOW = 2  # lines below the jobs: the best so far, and how far the sweep is


class LiveView:
    """Says what happens to a sweep's tasks.

    Args:
        count: How many jobs there are.
    """

    def __init__(self, count: int, console: Console | None = None) -> None:
        self.count, self.ended, self.failed = count, 0, 0
        self.started = time.monotonic()
        self.jobs: dict[str, Job] = {}  # by the names of their tasks
        self.best: tuple[float, Job] | None = None
        self.console = console or Console()
        self.live = (
            Live(console=self.console, refresh_per_second=4, transient=True, vertical_overflow="crop")
            if sys.stdout.isatty()
            else None
        )
        self._shown = ExitStack()

    def __enter__(self) -> LiveView:
        if self.live is not None:
            self._shown.enter_context(lines_above(self.live))
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def notify(self, event: Event, task: Task) -> None:
        """Say that a task started, ended, or will be started again."""
        job = self.jobs.get(task.name)
        assert task.slot is not None
        if event == "start":
            if self.live is None:  # which shows what runs
                log.info("start     %s on %s", job or task.name, task.slot)
        elif event == "retry":
            log.info("killed    %s, in attempt %d; it is started again", job or task.name, task.attempts)
        elif job is None:
            log.info("%s %s in %s", "done     " if task.code == 0 else "failed   ", task.name, clock(task.seconds))
        else:
            self._end_job(job, task)

    def _end_job(self, job: Job, task: Task) -> None:
        run = read_run(job.folder / RESULT)
        if isinstance(run, Run):
            accuracy = run.result["student"]["accuracy"]
            if self.best is None or accuracy > self.best[0]:
                self.best = accuracy, job
            self.say_end(job, "done", summary(run.result), task.seconds)
        else:
            self.say_end(job, "failed", "no result", task.seconds)

    def say_end(self, job: Job, word: str, said: str, seconds: float) -> None:
        """Say what became of a job: done, failed, or what else there is."""
        self.ended += 1
        self.failed += word == "failed"
        log.info("%-9s %s in %s: %s [%d of %d]", word, job, clock(seconds), said, self.ended, self.count)

    def tick(self, running: Sequence[Task]) -> None:
        """Show what runs now."""
        if self.live is not None:
            self.live.update(self.screen(running))

    def screen(self, running: Sequence[Task]) -> RenderableType:
        """What runs now in as many lines as the terminal has, and no wider."""
        room = max(1, self.console.height - BELOW - 2)
        shown = running if len(running) <= room else running[: room - 1]
        lines = self._of_tasks(shown)
        if len(shown) < len(running):
            lines.append(f"… and {len(running) - len(shown)} more that run")
        width = self.console.width
        if self.best is not None:
            said = f"best test accuracy {100 * self.best[0]:.2f} %: "
            lines.append(said + job_name(self.best[1], width - len(said)))
        return Group(Text("\n".join(line[:width] for line in lines), no_wrap=True), self._whole())

    def _of_tasks(self, tasks: Sequence[Task]) -> list[str]:
        """A line for each, with the names as long as there is room for."""
        rows = []
        for task in tasks:
            stage, left = how_far(task)
            took = clock(time.monotonic() - task.started)
            rows.append((str(task.slot), stage, took, left) if self.console.width >= ROOMY else (stage,))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        room = max(8, self.console.width - sum(widths) - 2 * len(widths))
        names = [job_name(self.jobs[task.name], room) if task.name in self.jobs else task.name[:room] for task in tasks]
        widths.insert(0, max(map(len, names), default=0))
        return [
            "  ".join(cell.ljust(width) for cell, width in zip((name, *row), widths, strict=True))
            for name, row in zip(names, rows, strict=True)
        ]

    def _whole(self) -> Table:
        """How far the sweep is."""
        passed = time.monotonic() - self.started
        left = f", about {clock(passed / self.ended * (self.count - self.ended))} left" if self.ended else ""
        failed = f", {self.failed} failed" if self.failed else ""
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        said = f"{self.ended} of {self.count} jobs{failed}, {clock(passed)}{left}"
        table.add_row(Text(said, no_wrap=True, overflow="ellipsis"), ProgressBar(self.count, self.ended))
        return table


def job_name(job: Job, room: int) -> str:
    """A job's number and what it differs in, with as much of the keys as there is room for."""
    pairs = [word.partition("=")[::2] for word in job.own]
    forms = (
        " ".join([job.name, *job.own]),
        " ".join([job.name, *(f"{key.rpartition('.')[2]}={value}" for key, value in pairs)]),
        " ".join([job.name, *(value for _, value in pairs)]),
    )
    fitting = [form for form in forms if len(form) <= room]
    return fitting[0] if fitting else f"{forms[-1][: room - 1]}…"


def how_far(task: Task) -> tuple[str, str]:
    """The stage and epoch that a task is at, and how long the stage will take from here, in words."""
    try:
        now = json.loads((task.folder / "now.json").read_text())
        left = now["seconds_per_epoch"] * (now["epochs"] - now["epoch"])
        return f"{now['stage']} epoch {now['epoch']}/{now['epochs']}", f"{clock(left)} left" if now["epoch"] else ""
    except (OSError, ValueError, KeyError):
        return "starting", ""


def summary(result: Mapping[str, Any]) -> str:
    """The accuracies of a result on the test images in a few words."""
    stages = ((stage, result.get(stage)) for stage in ("teacher", "baseline", "student"))
    texts = [f"{stage} {100 * numbers['accuracy']:.2f} %" for stage, numbers in stages if numbers]
    return f"test accuracy {', '.join(texts)}"


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes and seconds."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
