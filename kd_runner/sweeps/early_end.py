"""The early end of jobs of a sweep: by `kd-runner stop` from another terminal, or after a job that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kd_runner.errors import COMPLETED, RunFailed
from kd_runner.files.run_folder import RESULT, holds_a_run
from kd_runner.formats import number_of
from kd_runner.sweeps.engines.task import Event, Task
from kd_runner.sweeps.jobs import Job, completed_result, has_stop_record, write_end
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.packs.tasks import leave_out, ranges
from kd_runner.sweeps.stop_requests import Request, RequestReader, answer

log = logging.getLogger(__name__)

MOST_LINES = 10  # reasons why jobs have no result that are told one by one
LONGEST = 60  # letters of a list of jobs' numbers
LOOK = 1.0  # seconds between two looks for requests
BY_COMMAND = "kd-runner stop asked for it"
BY_AN_EARLIER_STOP = "kd-runner stop asked an earlier driver for it"  # and a pack in a cluster's queue ended it later
AFTER_FAILURE = "another job had failed (hydra.launcher.fail_fast)"


class NotRun(str):
    """The reason why a job has no result that was not to run to its end."""


class EarlyEnd:
    """Watches a sweep for what ends jobs early, and marks their tasks as unwanted, which the engine then ends.

    Args:
        jobs: The jobs that run, by number.
        tasks: The tasks of these jobs, by number.
        scheduled: The tasks that the engine is handed: packs, single jobs and trainings that several jobs need.
        fail_fast: True where the first job that fails for good ends the sweep.
    """

    def __init__(
        self,
        jobs: Mapping[int, Job],
        tasks: Mapping[int, Task],
        scheduled: Sequence[Task],
        folder: Path,
        fail_fast: bool,
        live_view: LiveView,
    ) -> None:
        self.jobs, self.tasks, self.scheduled, self.fail_fast, self.live_view = (
            jobs,
            tasks,
            scheduled,
            fail_fast,
            live_view,
        )
        self._requests = RequestReader(folder)
        self._looked = 0.0  # when requests were last looked for
        self._open = set(tasks)  # the jobs that have not ended
        self._stopped: set[int] = set()  # those that are to be recorded as stopped when they have ended
        self._is_over = False  # True once the whole sweep is to end
        self._packs = {int(member.name[1:]): task for task in scheduled for member in task.members}

    def notify(self, event: Event, task: Task) -> None:
        """Say that a task started, ended, or will be started again, as the live view does.

        A cluster also tells of the end of tasks that it had not started. Those are named when they are recorded, or in
        the line about all that were not started.
        """
        if event != "end" or not _was_never_run(task):
            self.live_view.notify(event, task)
        if event == "end":
            self._look_at_ended()

    def tick(self, running: Sequence[Task]) -> None:
        """Show the tasks that run now, and look whether a job failed or somebody asks for an end."""
        self.live_view.tick(running)
        if any(task.members for task in running):  # whose jobs end without a word of the engine's
            self._look_at_ended()
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            for request in self._requests.new_requests():
                self._obey(request)
            self._look_at_ended()

    def close(self) -> None:
        """Record what was stopped and has not been recorded; the engine has ended."""
        for number in sorted(self._stopped):
            self._record(number)

    def _look_at_ended(self) -> None:
        for number in [number for number in sorted(self._open) if self._has_ended(number)]:
            self._open.discard(number)
            task = self.tasks[number]
            if number in self._stopped:
                self._record(number)
            elif self.fail_fast and not task.unwanted and task.code != 0 and not completed_result(self.jobs[number]):
                if not self._is_over:
                    log.info("ending    the sweep: %s has failed", self.jobs[number])
                self._end_all(AFTER_FAILURE)

    def _has_ended(self, number: int) -> bool:
        """True where a job has ended, or its pack has, which nobody wants any longer."""
        task, pack = self.tasks[number], self._packs.get(number)
        return task.code is not None or (pack is not None and pack.unwanted and pack.code is not None)

    def _obey(self, request: Request) -> None:
        """Do what a request asks, and answer it."""
        if request.jobs is None:
            if not self._is_over:
                log.info("ending    the sweep: kd-runner stop asked for it")
            answer(request, {"ended": sorted(self._open), "all": True})
            self._stopped |= {number for number in self._open if self._has_begun(number)}
            self._end_all(BY_COMMAND)
            return
        new = [number for number in request.jobs if number in self._open and not self.tasks[number].unwanted]
        begun = [number for number in new if self._has_begun(number)]
        over = [number for number in request.jobs if number not in new]
        answer(request, {"ended": begun, "skipped": [number for number in new if number not in begun], "over": over})
        if new:
            log.info("ending    %s: kd-runner stop asked for it", ranges(sorted(new)))
        self._stopped |= set(new)
        self._mark([self.tasks[number] for number in new], BY_COMMAND)

    def _has_begun(self, number: int) -> bool:
        """True where a job runs or has run."""
        pack = self._packs.get(number)
        return bool(self.tasks[number].attempts or (pack is not None and pack.attempts))

    def _end_all(self, reason: str) -> None:
        """Have nothing start any longer, and what runs end."""
        self._is_over = True
        self._mark(self.tasks.values(), reason)
        for task in self.scheduled:
            _mark_unwanted(task, reason)

    def _mark(self, tasks: Iterable[Task], reason: str) -> None:
        """Mark the tasks of jobs as unwanted, and with them packs and trainings that no other job needs."""
        for task in tasks:
            _mark_unwanted(task, reason)
        for task in self.scheduled:
            needs = task.members or [self.tasks[number] for number in task.serves if number in self.tasks]
            if needs and all(need.unwanted or need.code is not None for need in needs):
                _mark_unwanted(task, reason)
            elif task.members:
                leave_out(task, [member.name for member in task.members if member.unwanted])

    def _record(self, number: int) -> None:
        """Record in a job's folder that it was stopped, where it has no result, and say so where nobody has."""
        job, task = self.jobs[number], self.tasks[number]
        self._stopped.discard(number)
        if completed_result(job) is not None:
            return
        if not task.attempts:
            outcome = "no result" if self._has_begun(number) else "before it started"
            self.live_view.say_end(job, "stopped", outcome, task.seconds)
        write_end(job, "stopped", BY_COMMAND)


def _was_never_run(task: Task) -> bool:
    """True where a task that nobody wants any longer has ended in the queue of a cluster."""
    return task.unwanted and not task.attempts and task.code != COMPLETED


def _mark_unwanted(task: Task, reason: str) -> None:
    if task.code is None and not task.unwanted:
        task.unwanted, task.why_unwanted = True, reason


def forget_stops(jobs: Sequence[Job]) -> None:
    """Delete the records of jobs that were stopped before they started, so that these can start."""
    for job in jobs:
        if has_stop_record(job):
            (job.folder / RESULT).unlink()
            job.folder.rmdir()


class JobFailed(RunFailed):
    """A job that has no result.

    Args:
        job: The job.
        reason: Why, in a line.
    """

    def __init__(self, job: Job, reason: str) -> None:
        super().__init__(f"{job}: {reason}")
        self.job, self.reason = job, reason


class JobNotRun(JobFailed):
    """A job that was not to run to its end."""


def failure_of(job: Job, outcome: str) -> JobFailed:
    """The error of a job that has no result, from the reason for that."""
    return JobNotRun(job, outcome) if isinstance(outcome, NotRun) else JobFailed(job, outcome)


def end_message(count: int, failures: Sequence[JobFailed], hint: str) -> list[str]:
    """The lines about the jobs of a sweep that have no result: one for each reason, first those of jobs that failed.

    Args:
        count: The number of all jobs.
        failures: The error of each job that has no result.
        hint: The end of the first line, with the command to go on.
    """
    by_reason: dict[str, list[JobFailed]] = {}
    for failure in sorted(failures, key=lambda failure: isinstance(failure, JobNotRun)):
        by_reason.setdefault(failure.reason, []).append(failure)
    groups = list(by_reason.items())
    lines = [f"{_jobs_in_short(group)}: {reason}" for reason, group in groups[:MOST_LINES]]
    unlisted = sum(len(group) for _, group in groups[MOST_LINES:])
    more = [f"and {number_of(unlisted, 'more job')}, for other reasons"] if unlisted else []
    return [f"{len(failures):,} of {number_of(count, 'job')} {_have(len(failures))} no result{hint}", *lines, *more]


def _jobs_in_short(failures: Sequence[JobFailed]) -> str:
    """One job with its overrides; several by their numbers, and where these are many, by how many there are."""
    if len(failures) == 1 and not isinstance(failures[0], JobNotRun):
        return str(failures[0].job)
    numbers = ranges(sorted(failure.job.number for failure in failures))
    return numbers if len(numbers) <= LONGEST else f"{len(failures):,} jobs, such as {failures[0].job}"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def stop_reason(job: Job, task: Task) -> NotRun:
    """The reason why a job has no result that was ended early, in a few words."""
    begun = holds_a_run(job.folder)
    return NotRun(f"{'ended early' if begun else 'not started'}: {task.why_unwanted or BY_AN_EARLIER_STOP}")
