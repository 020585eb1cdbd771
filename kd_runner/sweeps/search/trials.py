"""The trials of a search. Each is a run of its own, proposed when a slot is free, watched, and told to the study."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.plain_files import is_path_inside
from kd_runner.files.run_folder import JOURNAL, NOW, RESULT, SEARCH
from kd_runner.files.scores import with_scores
from kd_runner.formats import number_of
from kd_runner.sweeps.checks import Compose
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.folder import write_grid
from kd_runner.sweeps.grid import reason_of_failure
from kd_runner.sweeps.jobs import Job, completed_result, write_end
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.drivers import Driver, is_name_of_driver
from kd_runner.sweeps.search.record import importances_of, record_of
from kd_runner.sweeps.search.seeds import ACCURACIES, SEEDS, SeedRun, accuracies_of, may_be_best, rank_trials, seed_runs
from kd_runner.sweeps.search.space import Space
from kd_runner.sweeps.search.storage import open_study
from kd_runner.sweeps.search.study import SearchSettings, distribution_of, format_value, identity, propose_trial
from kd_runner.sweeps.search.trial_pruning import pruning_reason

OF_DRIVER = "driver"  # the name, in a trial's record, of the name of the driver that runs it
PLANNED = "trials"  # the name, in the study's record, of the number of trials that several drivers are to come to
NOBODY = "nobody"  # no driver has this name


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search.

    Args:
        count: The number of trials.
        failed: A line for each trial that failed.
        best: Lines that name the best trial, or the trials that no other trial betters in all objectives.
        trials_left: The number of trials that have not ended.
    """

    count: int
    failed: list[str]
    best: list[str]
    trials_left: int = 0


def _are_numbers(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(type(value) in (int, float) and math.isfinite(value) for value in values)


def _has_fit_seeds(trial: FrozenTrial, search: SearchSettings) -> bool:
    """True where what is recorded of a trial's seeds is what this search would have recorded."""
    record = trial.user_attrs
    count, accuracies = record.get(SEEDS, search.seeds), record.get(ACCURACIES, [])
    if type(count) is not int or count != search.seeds:
        return False
    if ACCURACIES not in record:
        return True
    if not _are_numbers(accuracies) or not 0 < len(accuracies) <= count or search.seeds == 1:
        return False
    mean = trial.values[0] if trial.state == TrialState.COMPLETE else statistics.fmean(accuracies)
    return min(accuracies) >= 0 and max(accuracies) <= 1 and math.isclose(mean, statistics.fmean(accuracies))


def refuse_foreign_trials(
    trials: Sequence[FrozenTrial], search: SearchSettings, space: Space, folder: Path, first: int = 0
) -> None:
    """Raise SettingsError where a trial of the journal is none that this search would have proposed.

    A trial's overrides and folder are used when a search goes on: those of a journal that anyone may have written must
    neither extend trust nor lead out of the search's folder.

    Args:
        first: The number of the first of these trials.
    """
    distributions = {dimension.key: distribution_of(dimension) for dimension in space.dimensions}
    for number, trial in enumerate(trials, first):
        record, count = trial.user_attrs, len(search.objectives)
        is_ours = (
            trial.number == number
            and trial.distributions == distributions
            and record.get("own") == space.overrides(trial.params)
            and isinstance(record.get("folder"), str)
            and is_path_inside(record["folder"])
            and isinstance(record.get("reason", ""), str)
            and is_name_of_driver(record.get(OF_DRIVER, ""))
            and (trial.state != TrialState.FAIL or "reason" in record)
            and (trial.state != TrialState.COMPLETE or (_are_numbers(trial.values) and len(trial.values) == count))
            and _has_fit_seeds(trial, search)
        )
        if not is_ours:
            raise SettingsError(f"{folder / JOURNAL} cannot be read (its trial {number} is none of this search)")


class Trials:
    """The trials of a search, in the study and in their folders.

    Args:
        driver: This process among those that run the search.
        flags, compose: The arguments of `run_search` with these names.
    """

    def __init__(
        self, search: SearchSettings, space: Space, driver: Driver, flags: Sequence[str], compose: Compose
    ) -> None:
        self.search, self.space, self.driver, self.flags, self.compose = search, space, driver, flags, compose
        self.folder, self.first_seed = driver.search_folder, 0
        self.settings: Mapping[str, Any] = {}  # of one of its jobs
        self.study, self.storage = open_study(driver, search.storage, search.directions)
        with driver.exclusive_access():
            if "search" not in self.study.user_attrs:
                self.study.set_user_attr("search", identity(search, space))
            if driver.is_one_of_many and self.study.user_attrs.get(PLANNED) != search.trials:
                self.study.set_user_attr(PLANNED, search.trials)
        self.jobs: list[Job] = []
        self.mine: set[int] = set()  # the trials that this driver has proposed or taken over
        self.pruning_reasons: dict[int, str] = {}  # why trials are pruned
        self._ended_runs: dict[int, set[str]] = {}  # the names of runs with other seeds, by their trials
        self._unreported: dict[int, int] = {}  # the first epoch of each trial that the study may not know
        self.refresh()

    def refresh(self) -> list[FrozenTrial]:
        """All trials that the study has by now, of which those of other drivers become jobs here, too.

        Raises:
            SettingsError: one of them is none of this search.
        """
        trials = self.all()
        if len(trials) > len(self.jobs):
            refuse_foreign_trials(trials[len(self.jobs) :], self.search, self.space, self.folder, len(self.jobs))
            self.jobs += [self._job(trial.number, trial.user_attrs) for trial in trials[len(self.jobs) :]]
        return trials

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
    def planned_count(self) -> int:
        """The number of trials in the end: where several drivers run the search, what the last to start was told."""
        planned_count = self.study.user_attrs.get(PLANNED) if self.driver.is_one_of_many else None
        return planned_count if type(planned_count) is int else self.search.trials

    def count_all(self) -> tuple[int, int]:
        """The number of trials that have ended, of all drivers of the search, and the number that it is to have."""
        trials = self.all()
        return sum(trial.state.is_finished() for trial in trials), max(self.planned_count, len(trials))

    @property
    def trials_left(self) -> int:
        """The number of trials that have not ended or not begun."""
        ended, count = self.count_all()
        return count - ended

    @property
    def trials_left_in_words(self) -> str:
        """The number of trials that have not ended or not begun, and where others have, that of all trials."""
        ended, count = self.count_all()
        return f"{count - ended} of {number_of(count, 'trial')} left" if ended else number_of(count, "trial")

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
        if self.driver.is_one_of_many:
            record[OF_DRIVER] = self.driver.name
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
        self.mine.add(job.number)
        self.write_grid()
        if not reason:
            return job
        write_end(job, "failed", reason)
        live_view.say_end(job, "failed", reason, 0.0)
        return None

    def new_trials(self, count: int, live_view: LiveView) -> list[Job]:
        """The jobs of up to so many new trials, as long as the search has fewer than it is to have."""
        with self.driver.exclusive_access():
            self.refresh()
            jobs = []
            for _ in range(count):
                if len(self.jobs) < self.planned_count:
                    jobs.append(self.ask_for_trial(live_view))
            return [job for job in jobs if job is not None]

    def orphans(self, most: int | None = None) -> list[tuple[Job, str]]:
        """The jobs of trials that have begun and that no driver runs, which are this driver's from now on.

        Each comes with the name of the driver that had it, which is empty for an only one.
        """
        if not any(self._is_orphan(trial) for trial in self.all()):
            return []
        with self.driver.exclusive_access():
            orphans = []
            for trial in [trial for trial in self.refresh() if self._is_orphan(trial)][:most]:
                orphans.append((self.jobs[trial.number], str(trial.user_attrs.get(OF_DRIVER, ""))))
                self.mine.add(trial.number)
                if self.driver.is_one_of_many:
                    self.storage.set_trial_user_attr(trial._trial_id, OF_DRIVER, self.driver.name)
            return orphans

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        runs = trial.state == TrialState.RUNNING and trial.number not in self.mine
        return runs and not self.driver.is_alive(str(trial.user_attrs.get(OF_DRIVER, "")) or NOBODY)

    def is_left_to_others(self) -> bool:
        """True where the search has trials that run, and other drivers run them all."""
        return any(trial.state == TrialState.RUNNING and trial.number not in self.mine for trial in self.all())

    def is_still_mine(self, number: int) -> bool:
        """False for a trial that another driver has taken over, as this one seemed to have ended."""
        if not self.driver.is_one_of_many:
            return True
        trial = self.all()[number]
        return trial.state == TrialState.RUNNING and trial.user_attrs.get(OF_DRIVER) == self.driver.name

    def other_runs(self, number: int) -> list[SeedRun]:
        """The runs of a trial with its other seeds, where it has more than one."""
        count = self.all()[number].user_attrs.get(SEEDS, 1)
        return seed_runs(self.jobs[number], self.first_seed, min(count, self.search.seeds), self.folder)

    def runs_left(self, number: int) -> list[Job]:
        """The runs of a trial that has begun which have no result: the first, or those with the other seeds."""
        if SEEDS not in self.all()[number].user_attrs:
            return [self.jobs[number]]
        return [run for run in self.other_runs(number) if completed_result(run) is None]

    def report_epochs(self, job: Job) -> str:
        """Report the new epochs of a trial to the study; returns the reason to prune it, empty where it goes on.

        The reason depends on the accuracies of this and the earlier trials. On one slot it does not depend on how late
        they are looked at.
        """
        if job.number in self.pruning_reasons or self.search.pruning == "none" or isinstance(job, SeedRun):
            return self.pruning_reasons.get(job.number, "")
        accuracies, epochs = student_epochs(job.folder)
        if len(accuracies) < self._unreported.get(job.number, 1):  # nothing to ask a database about
            return ""
        trial = self.all()[job.number]
        if trial.state.is_finished():  # another driver has taken it over
            return ""
        try:
            return self._report_each_epoch(trial, accuracies, epochs)
        except UpdateFinishedTrialError:  # it has just done so
            return ""

    def _report_each_epoch(self, trial: FrozenTrial, accuracies: Sequence[float], epochs: int) -> str:
        """Report the epochs that the study does not know, up to the one after which the trial is to be pruned."""
        number = trial.number
        for epoch in range(self._unreported.get(number, trial.last_step or 1), len(accuracies) + 1):
            self.storage.set_trial_intermediate_value(trial._trial_id, epoch, accuracies[epoch - 1])
            self._unreported[number] = epoch + 1
            reason = self._pruning_reason(number, epoch, epochs) if epoch < epochs else ""
            if reason:
                at = f"at epoch {epoch} of {epochs}: validation accuracy"
                self.pruning_reasons[number] = (
                    f"{at} {format_value('accuracy', max(accuracies[:epoch]))} at best, {reason}"
                )
                return self.pruning_reasons[number]
        return ""

    def _pruning_reason(self, number: int, epoch: int, epochs: int) -> str:
        reason, marks = pruning_reason(self.study, self.search, number, epoch, epochs)
        for name, value in marks.items():
            self.storage.set_trial_system_attr(self.all()[number]._trial_id, name, value)
        return reason

    def tell_outcome(self, job: Job, task: Task, timeout_s: float | None) -> tuple[str, str]:
        """Tell the study how a run of a trial ended; returns that in a word, and its result or the reason."""
        pruned = self.report_epochs(job)
        result = completed_result(job)
        values = self.search.values_of(result) if result is not None else None
        if pruned:
            status, outcome = "pruned", pruned
        elif values is not None:
            status, outcome = "done", self.search.values_in_words(values)
        elif result is not None:
            status, outcome = "failed", f"its {' and '.join(self.search.objectives)} are not all finite numbers"
        else:
            status, outcome = "failed", reason_of_failure(job, task, timeout_s)
        with self.driver.exclusive_access():
            if not self.is_still_mine(job.number):
                return "left", "another driver has taken the trial over"
            if status != "done":
                write_end(job, status, outcome)
                self._set(job.number, "reason", outcome if not isinstance(job, SeedRun) else f"{job.name}: {outcome}")
            if isinstance(job, SeedRun):
                self._conclude_where_whole(job.number, task)
            elif status == "done" and values is not None:
                self._tell_first_seed(job.number, values)
            else:
                self._tell(job.number, state=TrialState.PRUNED if pruned else TrialState.FAIL)
        return status, outcome

    def _set(self, number: int, name: str, value: Any) -> None:
        self.storage.set_trial_user_attr(self.all()[number]._trial_id, name, value)

    def _tell(self, number: int, values: Sequence[float] | None = None, state: TrialState | None = None) -> None:
        self.study.tell(number, values, state=state)
        self.mine.discard(number)
        for run in (self.jobs[number], *self.other_runs(number)):
            self.driver.run_lock(run).unlink(missing_ok=True)
        self.write_record()

    def _tell_first_seed(self, number: int, values: Sequence[float]) -> None:
        """Tell the study the result of a trial's first run, or note that its other seeds are to run."""
        if self.search.seeds > 1 and may_be_best(values[0], self.all(), self.search.seeds):
            self._set(number, SEEDS, self.search.seeds)
            self.write_grid()
            if self.runs_left(number):
                self.write_record()
            else:  # they ran before, for a study that was lost
                self.conclude(number)
        else:
            self._tell(number, values)

    def _conclude_where_whole(self, number: int, task: Task) -> None:
        """Tell the study the mean over a trial's seeds once all of its runs have ended."""
        self._ended_runs.setdefault(number, set()).add(task.name)
        runs = self.other_runs(number)
        if all(run.name in self._ended_runs[number] or completed_result(run) is not None for run in runs):
            self.conclude(number)

    def conclude(self, number: int) -> None:
        """Tell the study the mean over those seeds of a trial that have a result."""
        accuracies = []
        for run in (self.jobs[number], *self.other_runs(number)):
            result = completed_result(run)
            values = None if result is None else self.search.values_of(result)
            accuracies += values or []
        with self.driver.exclusive_access():
            if not accuracies:  # somebody has removed its results
                self._set(number, "reason", "its result is gone")
                return self._tell(number, state=TrialState.FAIL)
            if self.all()[number].user_attrs.get("reason") and len(accuracies) == 1 + len(self.other_runs(number)):
                self._set(number, "reason", "")  # a run has failed, and was done again by a later driver
            self._set(number, ACCURACIES, accuracies)
            return self._tell(number, [statistics.fmean(accuracies)])

    def best(self) -> list[FrozenTrial]:
        """The best trial, the first of equals; with several objectives, the trials that no other betters in all."""
        if self.search.seeds > 1:
            return rank_trials(self.all(), self.search.seeds)[:1]
        front = sorted(self.study.best_trials, key=lambda trial: trial.number)
        if len(self.search.objectives) == 1:
            return front[:1]
        sign = -1 if self.search.directions[0] == "maximize" else 1
        return sorted(front, key=lambda trial: sign * trial.values[0])

    def write_grid(self) -> None:
        """Record the runs of all trials so far."""
        runs: list[Job] = list(self.jobs)
        if self.search.seeds > 1:
            runs += [run for job in self.jobs for run in self.other_runs(job.number)]
        write_grid(runs, self.folder)

    def write_record(self, ended: bool = False) -> None:
        """Record the trials so far, and which are the best; where they have ended, what the keys count for, too."""
        self.refresh()
        content = record_of(self.study, self.search, self.best(), self.jobs, self.flags) | {
            "planned": self.planned_count
        }
        importances = importances_of(self.study, self.search.objectives) if ended else ({}, "the search goes on")
        content |= {"importances": importances[0], "no_importances": importances[1] or None}
        atomic.write_json(self.folder / SEARCH, content)

    def outcome(self) -> SearchOutcome:
        """The outcome of the search so far."""
        with self.driver.exclusive_access():
            self.write_record(ended=True)
        trials, has_one_objective = self.all(), len(self.search.objectives) == 1
        failed = [
            f"{self.jobs[trial.number]}: {trial.user_attrs['reason']}"
            for trial in trials
            if trial.state == TrialState.FAIL or (trial.state == TrialState.COMPLETE and trial.user_attrs.get("reason"))
        ]
        best = []
        for trial in self.best():
            job, title = self.jobs[trial.number], "best" if has_one_objective else "front"
            averaged = len(accuracies_of(trial))
            seeds = f", mean of {averaged} seeds" if averaged > 1 and self.search.seeds > 1 else ""
            best.append(f"{title:<9} {job}: {self.search.values_in_words(trial.values)}{seeds}")
            if has_one_objective:
                best.append(shlex.join(["kd-runner", *self.flags, *job.overrides]))
        ended = sum(trial.state.is_finished() for trial in trials)
        return SearchOutcome(len(trials), failed, best, max(0, max(self.planned_count, len(trials)) - ended))


def student_epochs(folder: Path) -> tuple[list[float], int]:
    """The validation accuracies of the student's epochs so far, and how many epochs it has."""
    student = with_scores(atomic.read_json(folder / RESULT)).get("student") or {}
    if "val_accuracies" in student:
        return student["val_accuracies"], len(student["val_accuracies"])
    status = atomic.read_json(folder / NOW)
    return (status["val_accuracies"], status["epochs"]) if status.get("stage") == "student" else ([], 0)
