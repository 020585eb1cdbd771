"""The trials of a search. Each is a run of its own, proposed when a slot is free, watched, and told to the study."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic
from kd_runner.files.plain_files import is_path_inside
from kd_runner.files.run_folder import CHECKED, NOW, RESULT, SEARCH
from kd_runner.files.scores import with_scores
from kd_runner.sweeps.checks import Compose, examine_jobs, refuse_common_folders
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.machine import LocalEngine, PoolSettings
from kd_runner.sweeps.engines.task import Event, Task
from kd_runner.sweeps.folder import write_grid
from kd_runner.sweeps.grid import note_unused, reason_of_failure
from kd_runner.sweeps.jobs import Job, completed_result, task_of
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.packs.tasks import newly_ended, pack_task
from kd_runner.sweeps.search.record import importances_of, record_of
from kd_runner.sweeps.search.space import Space
from kd_runner.sweeps.search.study import (
    JOURNAL,
    SURVIVORS,
    SearchSettings,
    distribution_of,
    format_value,
    identity,
    open_study,
    propose_trial,
)
from kd_runner.sweeps.search.together import Together, together_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search.

    Args:
        count: The number of trials.
        failed: A line for each trial that failed.
        best: Lines that name the best trial, or the trials that no other trial betters in all objectives.
    """

    count: int
    failed: list[str]
    best: list[str]


def run_search(
    search: SearchSettings,
    space: Space,
    folder: Path,
    pool_settings: PoolSettings,
    flags: Sequence[str],
    compose: Compose,
) -> SearchOutcome:
    """Run the trials that are missing, in a folder that this process holds by `exclusive_study`.

    Args:
        flags: Flags of the command line, such as --config-dir, which each trial gets, too.
        compose: Composes the settings of a trial.

    Raises:
        SettingsError: settings that cannot work; nothing was started.
        RunFailed: the search cannot go on.
    """
    trials = Trials(search, space, folder, flags, compose) if (folder / JOURNAL).exists() else None
    if trials is not None and not trials.trials_left:
        log.info("search    %d of %d trials have ended before", len(trials.jobs), search.trials)
        return trials.outcome()
    fork_server = ForkServer()
    try:
        jobs = jobs_to_check(search, space, folder, compose)
        engine = pool_settings.engine(fork_server, jobs, folder)
        report = check_jobs(jobs, folder, fork_server, engine)
        together = together_of(search, pool_settings.pack, engine.slot_count, jobs, report)
        trials = trials or Trials(search, space, folder, flags, compose)
        log.info("search    %d trials, %s: %s", trials.trials_left, engine.description, folder)
        with LiveView(trials.trials_left) as live_view:
            trials.run(engine, live_view, together)
    except OSError as error:  # a full disk, say
        raise RunFailed(f"the search cannot be written down: {error}") from error
    finally:
        fork_server.close()
    return trials.outcome()


def check_jobs(jobs: Sequence[Job], folder: Path, fork_server: ForkServer, engine: LocalEngine) -> dict[str, Any]:
    """Try jobs before a search starts, note the settings without effect in any of them, and return the report.

    Raises:
        SettingsError: the first job that cannot work.
    """
    try:
        report = examine_jobs(jobs, folder, fork_server, engine)
    except SettingsError as error:  # often the same error of many jobs
        raise SettingsError(str(error).splitlines()[0]) from error
    note_unused(jobs, report["unused"], partly=False)
    shutil.rmtree(folder / CHECKED, ignore_errors=True)
    return report


def jobs_to_check(search: SearchSettings, space: Space, folder: Path, compose: Compose) -> list[Job]:
    """The first trial as a job, and jobs that differ from it in one key, which has one of the values to check.

    Raises:
        SettingsError: one of them cannot be composed.
    """
    jobs = []
    for number, varying in enumerate(space.neighbours(propose_trial(search, space, []).params)):
        try:
            settings, name, origin = compose(number, [*space.fixed, *varying])
        except SettingsError as error:
            raise SettingsError(f"job #{number} ({' '.join(varying)}): {str(error).splitlines()[0]}") from error
        known = (origin.variables, origin.expressions)
        jobs.append(Job(number, varying, list(space.fixed), settings, folder / name, *known))
    refuse_common_folders(jobs, folder)
    return jobs


def refuse_foreign_trials(trials: Sequence[FrozenTrial], search: SearchSettings, space: Space, folder: Path) -> None:
    """Raise SettingsError where a trial of the journal is none that this search would have proposed.

    A trial's overrides and folder are used when a search goes on: those of a journal that anyone may have written must
    neither extend trust nor lead out of the search's folder.
    """
    distributions = {dimension.key: distribution_of(dimension) for dimension in space.dimensions}
    for number, trial in enumerate(trials):
        record, count = trial.user_attrs, len(search.objectives)
        is_ours = (
            trial.number == number
            and trial.distributions == distributions
            and record.get("own") == space.overrides(trial.params)
            and isinstance(record.get("folder"), str)
            and is_path_inside(record["folder"])
            and isinstance(record.get("reason", ""), str)
            and (trial.state != TrialState.FAIL or "reason" in record)
            and (trial.state != TrialState.COMPLETE or len(trial.values or ()) == count)
        )
        if not is_ours:
            raise SettingsError(f"{folder / JOURNAL} cannot be read (its trial {number} is none of this search)")


class Trials:
    """The trials of a search, in the study and in their folders.

    Args:
        flags, compose: The same as those of `run_search`.
    """

    def __init__(
        self, search: SearchSettings, space: Space, folder: Path, flags: Sequence[str], compose: Compose
    ) -> None:
        self.search, self.space, self.folder, self.flags, self.compose = search, space, folder, flags, compose
        self.study, self.storage = open_study(folder, search)
        if "search" not in self.study.user_attrs:
            self.study.set_user_attr("search", identity(search, space))
        refuse_foreign_trials(self.all(), search, space, folder)
        self.jobs = [self._job(trial.number, trial.user_attrs) for trial in self.all()]
        self.verdicts: dict[int, str] = {}  # why trials are pruned
        self._unreported: dict[int, int] = {}  # the first epoch of each trial that the study may not know

    def _job(self, number: int, record: Mapping[str, Any]) -> Job:
        """The job of a trial that the study has recorded so.

        Raises:
            SettingsError: the record would give the job words or a folder that no trial of this search has.
        """
        varying, name = record.get("own"), record.get("folder")
        folder = self.folder / str(name)
        if not self.space.has(varying) or self.folder.resolve() not in folder.resolve().parents:
            raise SettingsError(f"resume: {self.folder / JOURNAL} holds a trial of another search, #{number}")
        assert isinstance(varying, list)
        return Job(number, varying, list(self.space.fixed), {}, folder)

    def all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def trials_left(self) -> int:
        """The number of trials that have not ended or not begun."""
        return max(self.search.trials, len(self.jobs)) - sum(trial.state.is_finished() for trial in self.all())

    def run(self, engine: LocalEngine, live_view: LiveView, together: Together) -> None:
        """Run all trials that are left: first those that were interrupted, in their folders, then new ones.

        Args:
            together: The rules by which trials share a process.
        """
        timeout_s = engine.pool_settings.timeout_s
        proposed = deque[Task]()

        def tasks_of(jobs: Sequence[Job]) -> list[Task]:
            live_view.jobs |= {job.name: job for job in jobs}
            groups = [[task_of(job, {}, self.flags) for job in group] for group in together.groups(jobs)]
            return [tasks[0] if len(tasks) == 1 else pack_task(tasks, self.folder, timeout_s) for tasks in groups]

        def next_task() -> Task | None:
            while not proposed and len(self.jobs) < self.search.trials:
                count = together.count_at(len(self.jobs))
                jobs = [self.ask_for_trial(live_view) for _ in range(count) if len(self.jobs) < self.search.trials]
                proposed.extend(tasks_of([job for job in jobs if job is not None]))
            return proposed.popleft() if proposed else None

        def say_end(task: Task) -> None:
            job = live_view.jobs[task.name]
            status, outcome = self.tell_outcome(job, task, timeout_s)
            live_view.say_end(job, status, outcome, task.seconds)

        def notify(event: Event, task: Task) -> None:
            if event != "end":
                live_view.notify(event, task)
                return
            if not task.members:
                say_end(task)
                return
            for member in newly_ended(task):
                say_end(member)
            proposed.extend(member for member in task.members if member.code is None)  # these run alone

        def tick(running: Sequence[Task]) -> None:
            for task in running:
                for member in newly_ended(task):
                    say_end(member)
                if not task.members and self.search.pruning != "none" and self.verdict(live_view.jobs[task.name]):
                    task.unwanted = True
            live_view.tick(running)

        write_grid(self.jobs, self.folder)  # a kill may have kept the last job from it
        interrupted = [trial.number for trial in self.all() if trial.state == TrialState.RUNNING]
        engine.run(tasks_of([self.jobs[number] for number in interrupted]), notify, tick, next_task)
        shutil.rmtree(self.folder / CHECKED, ignore_errors=True)

    def ask_for_trial(self, live_view: LiveView) -> Job | None:
        """The next trial's job, which is in the study from now on; None where its settings cannot be composed."""
        trial = propose_trial(self.search, self.space, self.all())
        varying, reason = self.space.overrides(trial.params), ""
        try:
            _, name, _ = self.compose(trial.number, [*self.space.fixed, *varying])
        except SettingsError as error:  # values that work with some other values, and not with these
            name, reason = str(trial.number), str(error).splitlines()[0]
        if any(job.folder == self.folder / name for job in self.jobs):  # hydra.sweep.subdir is made of the overrides
            name = f"{name}_{trial.number}"
        record = {"own": varying, "folder": name, **({"reason": reason} if reason else {})}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if reason else TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=record,
                system_attrs=trial.system_attrs,
            )
        )
        job = self._job(trial.number, record)
        self.jobs.append(job)
        write_grid(self.jobs, self.folder)
        if not reason:
            return job
        job.folder.mkdir(parents=True, exist_ok=True)
        write_end(job, "failed", reason)
        live_view.say_end(job, "failed", reason, 0.0)
        return None

    def verdict(self, job: Job) -> str:
        """The reason why a trial is to be pruned, empty where it is not; reports its new epochs to the study.

        The verdict depends on the accuracies of this and the earlier trials. On one slot it does not depend on how late
        they are looked at.
        """
        if job.number in self.verdicts:
            return self.verdicts[job.number]
        accuracies, epochs = student_epochs(job.folder)
        trial = self.all()[job.number]
        for epoch in range(self._unreported.get(job.number, trial.last_step or 1), len(accuracies) + 1):
            self.storage.set_trial_intermediate_value(trial._trial_id, epoch, accuracies[epoch - 1])
            self._unreported[job.number] = epoch + 1
            reason = self.pruning_reason(job.number, epoch) if epoch < epochs else ""
            if reason:
                at = f"at epoch {epoch} of {epochs}: validation accuracy"
                self.verdicts[job.number] = (
                    f"{at} {format_value('accuracy', max(accuracies[:epoch]))} at best, {reason}"
                )
                return self.verdicts[job.number]
        return ""

    def pruning_reason(self, number: int, epoch: int) -> str:
        """The reason to prune a trial at an epoch, the last that it reported; empty where it should go on."""
        trials, search = self.all(), self.search
        if search.pruning == "median":
            pruner = optuna.pruners.MedianPruner(search.startup_trials, n_warmup_steps=search.pruning_warmup)
            return "below the median of the earlier trials" if pruner.prune(self.study, trials[number]) else ""
        rung = search.pruning_warmup
        while rung < epoch:
            rung *= SURVIVORS
        reached = [trial.intermediate_values[epoch] for trial in trials if epoch in trial.intermediate_values]
        better = sum(value > trials[number].intermediate_values[epoch] for value in reached)
        return "not among the best quarter" if rung == epoch and better >= max(1, len(reached) // SURVIVORS) else ""

    def tell_outcome(self, job: Job, task: Task, timeout_s: float | None) -> tuple[str, str]:
        """Tell the study how a job ended; returns that in a word, and its result or the reason."""
        pruned = self.verdict(job) if self.search.pruning != "none" else ""
        result = completed_result(job)
        values = self.search.values_of(result) if result is not None else None
        if not pruned and values is not None:
            self.study.tell(job.number, values)
            status, outcome = "done", self.search.values_in_words(values)
        else:
            status, state = ("pruned", TrialState.PRUNED) if pruned else ("failed", TrialState.FAIL)
            if pruned:
                outcome = pruned
            elif result is not None:
                outcome = f"its {' and '.join(self.search.objectives)} are not all finite numbers"
            else:
                outcome = reason_of_failure(job, task, timeout_s)
            write_end(job, status, outcome)
            self.storage.set_trial_user_attr(self.all()[job.number]._trial_id, "reason", outcome)
            self.study.tell(job.number, state=state)
        self.write_record()
        return status, outcome

    def best(self) -> list[FrozenTrial]:
        """The best trial, the first of equals; with several objectives, the trials that no other betters in all."""
        front = sorted(self.study.best_trials, key=lambda trial: trial.number)
        if len(self.search.objectives) == 1:
            return front[:1]
        sign = -1 if self.search.directions[0] == "maximize" else 1
        return sorted(front, key=lambda trial: sign * trial.values[0])

    def write_record(self, ended: bool = False) -> None:
        """Record the trials so far, and which are the best; where they have ended, what the keys count for, too."""
        content = record_of(self.study, self.search, self.best(), self.jobs, self.flags)
        found = importances_of(self.study, self.search.objectives) if ended else ({}, "the search goes on")
        content |= {"importances": found[0], "no_importances": found[1] or None}
        atomic.write_json(self.folder / SEARCH, content)

    def outcome(self) -> SearchOutcome:
        """The outcome of the search so far."""
        self.write_record(ended=True)
        trials, has_one_objective = self.all(), len(self.search.objectives) == 1
        failed = [
            f"{self.jobs[trial.number]}: {trial.user_attrs['reason']}"
            for trial in trials
            if trial.state == TrialState.FAIL
        ]
        best = []
        for trial in self.best():
            job, title = self.jobs[trial.number], "best" if has_one_objective else "front"
            best.append(f"{title:<9} {job}: {self.search.values_in_words(trial.values)}")
            if has_one_objective:
                best.append(shlex.join(["kd-runner", *self.flags, *job.overrides]))
        return SearchOutcome(len(trials), failed, best)


def student_epochs(folder: Path) -> tuple[list[float], int]:
    """The validation accuracies of the student's epochs so far, and how many epochs it has."""
    student = with_scores(atomic.read_json(folder / RESULT)).get("student") or {}
    if "val_accuracies" in student:
        return student["val_accuracies"], len(student["val_accuracies"])
    status = atomic.read_json(folder / NOW)
    return (status["val_accuracies"], status["epochs"]) if status.get("stage") == "student" else ([], 0)


def write_end(job: Job, status: str, reason: str) -> None:
    """Record in a job's folder how the job ended, where the job itself could not."""
    path = job.folder / RESULT
    result = {"overrides": job.overrides, **atomic.read_json(path)}
    atomic.write_json(path, {**result, "status": status, "error": reason})
