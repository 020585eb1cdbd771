"""The next work of a driver of a search: trials that were interrupted, the other seeds of a good one, new trials."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kd_runner.files.run_folder import CHECKED
from kd_runner.formats import number_of
from kd_runner.sweeps.engine import Engine
from kd_runner.sweeps.engines.task import Event, Task
from kd_runner.sweeps.jobs import Job, completed_result, task_of
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.packs.tasks import leave_out, newly_ended, pack_task
from kd_runner.sweeps.queue_names import queue_name
from kd_runner.sweeps.search.guarded import guarded_task
from kd_runner.sweeps.search.seeds import SEEDS, SeedRun
from kd_runner.sweeps.search.together import Together
from kd_runner.sweeps.search.trials import Trials

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between looks at what other drivers do
LOOK_AT_OWN = 10.0  # seconds between looks whether another driver has taken over what runs here


class TrialQueue:
    """The trials that one driver of a search runs.

    Args:
        together: The rules by which trials share a process.
        timeout_s: The seconds that a run may take; None for no limit.
        variables: Environment variables that the trials' settings depend on.
    """

    def __init__(
        self,
        trials: Trials,
        engine: Engine,
        together: Together,
        live_view: LiveView,
        timeout_s: float | None,
        variables: Mapping[str, str],
    ) -> None:
        self.trials, self.engine, self.together, self.live_view = trials, engine, together, live_view
        self.timeout_s, self.variables = timeout_s, variables
        self.ready = deque[Task]()
        self.look_again = self.look_at_own = 0.0  # on the monotonic clock
        limit = trials.search.timeout
        self.ends = None if limit is None else time.monotonic() + limit

    def run(self) -> None:
        """Run trials until the search has all of them, or its time is over."""
        trials, driver = self.trials, self.trials.driver
        with driver.exclusive_access():
            trials.refresh()
            trials.write_grid()  # a kill may have kept the last job from it
        if not driver.is_one_of_many:
            self.ready.extend(self.tasks_of_orphans())
        while True:
            task = self.next_task()
            if task is not None:
                self.engine.run([task], self.notify, self.tick, self.next_task)
            elif self.is_over() or not trials.is_left_to_others():
                break
            else:
                time.sleep(LOOK)
        if self.is_over() and trials.trials_left:
            ended, count = trials.count_all()
            unfinished = f"{count - ended} of {number_of(count, 'trial')} left"
            log.info("search    its time is over (hydra.sweeper.timeout): %s", unfinished)
        shutil.rmtree(driver.folder / CHECKED, ignore_errors=True)

    def is_over(self) -> bool:
        """True where no trial may start any more."""
        return self.ends is not None and time.monotonic() > self.ends

    def next_task(self) -> Task | None:
        """The next task for a free slot; None where there is none by now."""
        if not self.ready and not self.is_over() and time.monotonic() >= self.look_again:
            if self.trials.driver.is_one_of_many:
                self.ready.extend(self.tasks_of_orphans(1))
            if not self.ready:
                self.ready.extend(self.tasks_of_new_trials())
            if not self.ready:
                self.look_again = time.monotonic() + LOOK
        return self.ready.popleft() if self.ready else None

    def tasks_of_new_trials(self) -> list[Task]:
        """Tasks of as many new trials as are proposed at once; none where the search has all of its trials."""
        trials = self.trials
        while len(trials.jobs) < trials.planned_count:
            jobs = trials.new_trials(self.together.count_at(len(trials.jobs)), self.live_view)
            if jobs:
                return self.tasks_of(jobs)
        return []

    def tasks_of_orphans(self, most: int | None = None) -> list[Task]:
        """Tasks of up to `most` trials that have begun and that no driver runs."""
        tasks, jobs = [], []
        for job, driver in self.trials.orphans(most):
            if driver:
                log.info("taken     %s from %s, which has ended", job, driver)
            for name in dict.fromkeys(("", driver)):  # an only driver may have had it before
                self.engine.adopt(self.trials.driver.folder_of(name))
            runs = self.trials.runs_left(job.number)
            if runs == [job] and completed_result(job) is not None:  # it outlived its driver
                self.live_view.jobs |= {job.name: job}
                self.say_end(Task(job.name, job.folder, [], [], code=0))
            elif runs == [job]:
                jobs.append(job)
            elif runs:
                tasks += self.tasks_of(runs)
            else:  # it was killed before it could say so
                self.trials.conclude(job.number)
        return [*self.tasks_of(jobs), *tasks]

    def tasks_of(self, jobs: Sequence[Job]) -> list[Task]:
        """The tasks of runs: one for each group that shares a process."""
        self.live_view.jobs |= {job.name: job for job in jobs}
        alone = any(isinstance(job, SeedRun) for job in jobs)
        groups = [[job] for job in jobs] if alone else self.together.groups(jobs)
        packs = [[self.task_of_run(job) for job in group] for group in groups]
        folder = self.trials.driver.folder
        return [tasks[0] if len(tasks) == 1 else pack_task(tasks, folder, self.timeout_s) for tasks in packs]

    def task_of_run(self, job: Job) -> Task:
        """The task of one run of a trial."""
        title = queue_name(job, self.trials.settings)
        task = replace(task_of(job, {}, self.trials.flags), variables=self.variables, title=title)
        driver = self.trials.driver
        # A killed driver of a cluster may have left a job in its queue that nobody knows of.
        is_guarded = driver.is_one_of_many or self.engine.is_remote
        return guarded_task(task, driver.run_lock(job)) if is_guarded else task

    def say_end(self, task: Task) -> None:
        """Tell the study how a run ended, say so, and queue the trial's other seeds where it is to have them."""
        job = self.live_view.jobs[task.name]
        status, outcome = self.trials.tell_outcome(job, task, self.timeout_s)
        if status == "done" and not isinstance(job, SeedRun) and SEEDS in self.trials.all()[job.number].user_attrs:
            runs = self.trials.runs_left(job.number)
            self.live_view.count += len(runs)
            self.ready.extendleft(reversed(self.tasks_of(runs)))
        self.live_view.say_end(job, status, outcome, task.seconds)

    def notify(self, event: Event, task: Task) -> None:
        """Say that a task started, ended, or will be started again."""
        if event != "end":
            self.live_view.notify(event, task)
            return
        if not task.members:
            self.say_end(task)
            return
        for member in newly_ended(task):
            self.say_end(member)
        self.ready.extend(member for member in task.members if member.code is None and self.is_mine(member))  # alone

    def tick(self, running: Sequence[Task]) -> None:
        """Look at the tasks that run, and have those end that are pruned or that another driver has taken over."""
        for task in running:
            for member in newly_ended(task):
                self.say_end(member)
            if not task.members and self.trials.search.pruning != "none":
                task.unwanted |= bool(self.trials.report_epochs(self.live_view.jobs[task.name]))
        if time.monotonic() >= self.look_at_own:
            self.look_at_own = time.monotonic() + LOOK_AT_OWN
            for task in running:
                self.end_what_others_have(task)
        self.live_view.tick(running)

    def end_what_others_have(self, task: Task) -> None:
        """Have a task end, or those of its members, that another driver runs, to which this one seemed to be dead."""
        runs = [run for run in task.members or [task] if run.code is None]
        lost = [run.name for run in runs if not self.is_mine(run)]
        if lost and len(lost) == len(runs):
            task.unwanted = True
        elif lost:
            leave_out(task, lost)

    def is_mine(self, task: Task) -> bool:
        """False for a run of a trial that another driver has taken over."""
        return self.trials.is_still_mine(self.live_view.jobs[task.name].number)
