"""The progress of a sweep: one screen that follows it on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kd_runner.files.plain_files import read_plain
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.results import PREPARING, Run, read_run, stage_has_ended
from kd_runner.files.run_folder import NOW, RESULT
from kd_runner.files.scores import words_of
from kd_runner.files.stages import STAGES
from kd_runner.formats import number_of, percent, stopwatch
from kd_runner.plain_text import printable
from kd_runner.sweeps.end_reasons import end_reason
from kd_runner.sweeps.engines.task import Event, Task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.tasks import newly_ended
from kd_runner.terminal import is_terminal, lines_above

log = logging.getLogger(__name__)

ROOMY = 72  # columns from which a line has room for more than a job and its stage
SHORTEST_NAME = 8  # columns that a job's name has at least
OBVIOUS = ("job", "trial")  # what a line is about: how many of these there are needs no word
BELOW = 2  # lines below the jobs: the best so far, and the progress of the sweep


class LiveView:
    """Says what happens to a sweep's tasks.

    Args:
        count: The number of jobs.
        noun: The word for what is counted.
        count_all: A function that gives how many of these have ended and how many there are, where not only this
            process runs some.
    """

    def __init__(
        self,
        count: int,
        console: Console | None = None,
        noun: str = "job",
        count_all: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self.count, self.ended, self.failed = count, 0, 0
        self.noun, self.count_all = noun, count_all
        if count_all is not None:
            self.ended, self.count = count_all()
        self.ended_before = self.ended
        self.started = time.monotonic()
        self.jobs: dict[str, Job] = {}  # by the names of their tasks
        self.timeout_s: float | None = None  # seconds that a job may take
        self.best: tuple[float, Job] | None = None  # by the validation images: test images have no part in a choice
        self.console = console or Console()
        self.live = (
            Live(console=self.console, refresh_per_second=4, transient=True, vertical_overflow="crop")
            if is_terminal()
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
        if event == "end":
            self._end_members(task)
        if event == "start":
            if self.live is None:  # the screen shows what runs
                together = f", {len(task.members)} side by side" if task.members else ""
                log.info("start     %s on %s%s", job or task.name, task.slot, together)
        elif event == "retry":
            log.info("killed    %s, in attempt %d; it is started again", job or task.name, task.attempts)
        elif task.members:
            if task.code != 0 and not task.unwanted:
                log.info("killed    %s; those of them that have not ended run alone", task.name)
        elif job is None:
            status = "done" if task.code == 0 else "stopped" if task.unwanted else "failed"
            why = f": {end_reason(task.folder, task, self.timeout_s)}" if status == "failed" else ""
            log.info("%-9s %s in %s%s", status, task.name, stopwatch(task.seconds), why)
        else:
            self._end_job(job, task)

    def _end_members(self, pack: Task) -> None:
        """Say how those members of a pack ended that have ended since the last call."""
        for member in newly_ended(pack):
            self._end_job(self.jobs[member.name], member)

    def _end_job(self, job: Job, task: Task) -> None:
        run = read_run(job.folder / RESULT)
        if isinstance(run, Run):
            accuracy = validation_score(run.result)
            if accuracy is not None and (self.best is None or accuracy > self.best[0]):
                self.best, self.words = (accuracy, job), words_of(run.result)
            self.say_end(job, "done", summary(run.result), task.seconds)
        elif task.unwanted:
            self.say_end(job, "stopped", "no result", task.seconds)
        else:
            self.say_end(job, "failed", end_reason(job.folder, task, self.timeout_s), task.seconds)

    def say_end(self, job: Job, status: str, outcome: str, seconds: float) -> None:
        """Say how a job ended.

        Args:
            status: One word: done, failed, pruned, stopped.
            outcome: The result, or the reason why there is none.
        """
        self.ended += 1
        self.failed += status == "failed"
        if self.count_all is not None:
            self.ended, self.count = self.count_all()
        counted = f"{self.ended} of {self.count}" if self.noun in OBVIOUS and not self.count_all else self._count_text()
        log.info("%-9s %s in %s: %s [%s]", status, job, stopwatch(seconds), outcome, counted)

    def _count_text(self) -> str:
        """The number of jobs or trials that have ended, and of how many, in words."""
        of_search = "" if self.count_all is None else " of the search"
        return f"{self.ended} of {number_of(self.count, self.noun)}{of_search}"

    def tick(self, running: Sequence[Task]) -> None:
        """Show the tasks that run now, and say how members of packs have ended."""
        for task in running:
            self._end_members(task)
        if self.live is not None:
            self.live.update(self.screen(running))

    def screen(self, running: Sequence[Task]) -> RenderableType:
        """The tasks that run now, in no more lines and columns than the terminal has."""
        room = max(1, self.console.height - BELOW - 2)
        shown = running if len(running) <= room else running[: room - 1]
        rows: list[RenderableType] = [self._task_table(shown)] if shown else []
        if len(shown) < len(running):
            rows.append(_line(f"… and {len(running) - len(shown)} more that run"))
        if self.best is not None:
            accuracy, job = self.best
            best = Table.grid(padding=(0, 1))
            best.add_column(no_wrap=True)
            best.add_row(_line(f"best validation {self.words.name} {percent(accuracy)}:"), _FittingName(job))
            rows.append(best)
        return Group(*rows, self._progress())

    def _task_table(self, tasks: Sequence[Task]) -> Table:
        """A line for each task, with the names of jobs as long as there is room for."""
        table = Table.grid(padding=(0, 2))
        table.add_column()  # the names, which alone give way
        for task in tasks:
            job = self.jobs.get(task.name)
            stage, time_left = stage_and_time_left(task)
            elapsed = stopwatch(time.monotonic() - task.started)
            cells = (str(task.slot), stage, elapsed, time_left) if self.console.width >= ROOMY else (stage,)
            table.add_row(_FittingName(job) if job else _line(task.name), *map(_line, cells))
        for column in table.columns[1:]:
            column.no_wrap = True
        return table

    def _progress(self) -> Table:
        """The number of jobs that have ended, the time, and a bar."""
        elapsed = time.monotonic() - self.started
        ended_since = self.ended - self.ended_before
        seconds_per_job = elapsed / ended_since if ended_since else 0.0
        time_left = f", about {stopwatch(seconds_per_job * (self.count - self.ended))} left" if ended_since else ""
        failed = f", {self.failed} failed" if self.failed else ""
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        table.add_row(
            _line(f"{self._count_text()}{failed}, {stopwatch(elapsed)}{time_left}"),
            ProgressBar(self.count, self.ended),
        )
        return table


def _line(text: str) -> Text:
    """Text that stays on one line, cut where there is no room."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


@dataclass(frozen=True)
class _FittingName:
    """The name of a job, in the form that fits the column which rich gives it."""

    job: Job

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = len(printable(job_name(self.job, options.max_width)))
        return Measurement(min(SHORTEST_NAME, longest), longest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _line(job_name(self.job, options.max_width))


def job_name(job: Job, room: int) -> str:
    """A job's number and its overrides, with as much of the keys as fits into `room` columns."""
    pairs = [without_plus(override).partition("=")[::2] for override in job.varying]
    forms = (
        " ".join([job.name, *job.varying]),
        " ".join([job.name, *(f"{key.rpartition('.')[2]}={value}" for key, value in pairs)]),
        " ".join([job.name, *(value for _, value in pairs)]),
    )
    fitting = [form for form in forms if len(form) <= room]
    return fitting[0] if fitting else f"{forms[-1][: room - 1]}…"


def stage_and_time_left(task: Task) -> tuple[str, str]:
    """The stage and epoch of a running task, and how long the stage will still take, in words.

    Of jobs side by side, it is the stage of the first that has not ended, and the time that all of them will take.
    """
    running = [member for member in task.members if member.code is None] or [task]
    try:
        status = json.loads(read_plain(running[0].folder / NOW))
        if status.get(PREPARING):
            return "starting", ""
        epoch, epochs = status["epoch"], status["epochs"]
        epochs_left = 0 if stage_has_ended(status) else epochs - epoch
        seconds = status["seconds_per_epoch"] * epochs_left * len(running)
        time_left = f"{stopwatch(seconds)} left" if epoch else ""
        return f"{status['stage']} epoch {epoch}/{epochs}", time_left
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return "starting", ""


def validation_score(result: Mapping[str, Any]) -> float | None:
    """The student's best score on the validation images, by which the leaderboard ranks; None where there is none."""
    return (result["student"].get("best_val") or {}).get("val_accuracy")


def summary(result: Mapping[str, Any]) -> str:
    """The accuracies of a result on the test images in a few words."""
    stages = ((stage, result.get(stage)) for stage in STAGES)
    scores = [f"{stage} {percent(numbers['accuracy'])}" for stage, numbers in stages if numbers]
    return f"test {words_of(result).name} {', '.join(scores)}"
