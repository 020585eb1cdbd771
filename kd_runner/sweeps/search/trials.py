"""The trials of a search: each is a run of its own, asked for when a slot is free, watched, and told to the study."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic
from kd_runner.files.run_folder import CHECKED
from kd_runner.sweeps.checks import Compose, examine_jobs, refuse_common_folders
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.machine import PoolSettings
from kd_runner.sweeps.engines.pool import Pool
from kd_runner.sweeps.engines.task import Event, Slot, Task
from kd_runner.sweeps.folder import write_grid
from kd_runner.sweeps.grid import note_unused, what_happened
from kd_runner.sweeps.jobs import Job, earlier_result, task_of
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.space import Space
from kd_runner.sweeps.search.study import JOURNAL, SURVIVORS, Search, format_value, identity, open_study, propose_trial

log = logging.getLogger(__name__)

RECORD = "search.json"  # how many trials ended how, and the best of them


@dataclass(frozen=True)
class SearchOutcome:
    """What a search came to.

    Args:
        failed: A line for each trial that failed.
        best: Lines that name the best trial, or the trials that no other betters in all objectives.
    """

    count: int
    failed: list[str]
    best: list[str]


def run_search(
    search: Search, space: Space, folder: Path, options: PoolSettings, flags: Sequence[str], compose: Compose
) -> SearchOutcome:
    """Run the trials that are missing, in a folder that is this process's `alone`.

    Args:
        flags, compose: As in `kd_runner.sweeps.grid`.

    Raises:
        SettingsError: settings that cannot work; nothing was started.
        RunFailed: the search cannot go on.
    """
    trials = Trials(search, space, folder, flags, compose) if (folder / JOURNAL).exists() else None
    if trials is not None and not trials.trials_left:
        log.info("search    %d of %d trials have ended before", len(trials.jobs), search.trials)
        return trials.outcome()
    nursery = ForkServer()
    try:
        checks = to_check(search, space, folder, compose)
        machine = options.engine(nursery, checks, folder)
        try:
            note_unused(checks, examine_jobs(checks, folder, nursery, machine), some=False)
        except SettingsError as error:  # the same of many jobs, often
            raise SettingsError(str(error).splitlines()[0]) from error
        shutil.rmtree(folder / CHECKED, ignore_errors=True)
        trials = trials or Trials(search, space, folder, flags, compose)
        log.info("search    %d trials, %s: %s", trials.trials_left, machine.where, folder)
        with LiveView(trials.trials_left) as board:
            trials.run(nursery, machine.slots, machine.threads, options, board)
    except OSError as error:  # a full disk, say
        raise RunFailed(f"the search cannot be written down: {error}") from error
    finally:
        nursery.close()
    return trials.outcome()


def to_check(search: Search, space: Space, folder: Path, compose: Compose) -> list[Job]:
    """The first trial as a job, and those that differ from it in one key, at the ends of what that key may be.

    Raises:
        SettingsError: one of them cannot be composed.
    """
    jobs = []
    for number, own in enumerate(space.around(propose_trial(search, space, []).params)):
        try:
            settings, name, _ = compose(number, [*space.fixed, *own])
        except SettingsError as error:
            raise SettingsError(f"job #{number} ({' '.join(own)}): {str(error).splitlines()[0]}") from error
        jobs.append(Job(number, own, list(space.fixed), settings, folder / name))
    refuse_common_folders(jobs, folder)
    return jobs


class Trials:
    """The trials of a search: asked for, watched and told, in the study and in their folders.

    Args:
        flags, compose: As in `kd_runner.sweeps.grid`.
    """

    def __init__(self, search: Search, space: Space, folder: Path, flags: Sequence[str], compose: Compose) -> None:
        self.search, self.space, self.folder, self.flags, self.compose = search, space, folder, flags, compose
        self.study, self.storage = open_study(folder, search)
        if "search" not in self.study.user_attrs:
            self.study.set_user_attr("search", identity(search, space))
        self.jobs = [self._job(trial.number, trial.user_attrs) for trial in self.all()]
        self.verdicts: dict[int, str] = {}  # why trials are pruned
        self._unreported: dict[int, int] = {}  # the first epoch of each trial that the study may not know

    def _job(self, number: int, kept: Mapping[str, Any]) -> Job:
        return Job(number, kept["own"], list(self.space.fixed), {}, self.folder / kept["folder"])

    def all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def trials_left(self) -> int:
        """How many trials are still to be run, or to be gone on with."""
        return max(self.search.trials, len(self.jobs)) - sum(trial.state.is_finished() for trial in self.all())

    def run(
        self, nursery: ForkServer, slots: Sequence[Slot], threads: int, options: PoolSettings, board: LiveView
    ) -> None:
        """Run all that are left: first those that were interrupted, in their folders, then new ones."""

        def more() -> Task | None:
            while len(self.jobs) < self.search.trials:
                job = self.ask_for_trial(board)
                if job is not None:
                    return task(job)
            return None

        def task(job: Job) -> Task:
            board.jobs[job.name] = job
            return task_of(job, {}, self.flags)

        def notify(event: Event, task: Task) -> None:
            if event == "end":
                word, said = self.tell_outcome(board.jobs[task.name], task, options)
                board.say_end(board.jobs[task.name], word, said, task.seconds)
            else:
                board.notify(event, task)

        def tick(running: Sequence[Task]) -> None:
            for each in running:
                if self.search.pruning != "none" and self.verdict(board.jobs[each.name]):
                    pool.stop(each)
            board.tick(running)

        pool = Pool(nursery, slots, threads, options.timeout_s, options.grace_s, options.retries, notify, tick)
        write_grid(self.jobs, self.folder)  # whose last one a kill may have kept from it
        interrupted = [trial.number for trial in self.all() if trial.state == TrialState.RUNNING]
        pool.run([task(self.jobs[number]) for number in interrupted], more)

    def ask_for_trial(self, board: LiveView) -> Job | None:
        """The next trial's job, which is in the study from now on; None where its settings cannot be composed."""
        trial = propose_trial(self.search, self.space, self.all())
        own, reason = self.space.words(trial.params), ""
        try:
            _, name, _ = self.compose(trial.number, [*self.space.fixed, *own])
        except SettingsError as error:  # of values that go well with some others, and not with these
            name, reason = str(trial.number), str(error).splitlines()[0]
        if any(job.folder == self.folder / name for job in self.jobs):  # hydra.sweep.subdir is of what it tries
            name = f"{name}_{trial.number}"
        kept = {"own": own, "folder": name, **({"reason": reason} if reason else {})}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if reason else TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=kept,
                system_attrs=trial.system_attrs,
            )
        )
        job = self._job(trial.number, kept)
        self.jobs.append(job)
        write_grid(self.jobs, self.folder)
        if not reason:
            return job
        job.folder.mkdir(parents=True, exist_ok=True)
        write_end(job, "failed", reason)
        board.say_end(job, "failed", reason, 0.0)
        return None

    def verdict(self, job: Job) -> str:
        """Why the trial is to be pruned, empty where it is not; tells the study of the epochs since the last time.

        It depends on the accuracies of this and the earlier trials, on one slot not on how late they are looked at.
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
        """Than what a trial is at that epoch, the last that it reported; empty where it should go on."""
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

    def tell_outcome(self, job: Job, task: Task, options: PoolSettings) -> tuple[str, str]:
        """Tell the study what became of a job that has ended; returns that in a word, and more about it."""
        pruned = self.verdict(job) if self.search.pruning != "none" else ""
        result = earlier_result(job)
        values = self.search.values_of(result) if result is not None else None
        if not pruned and values is not None:
            self.study.tell(job.number, values)
            word, said = "done", self.search.values_in_words(values)
        else:
            unknown = f"its {' and '.join(self.search.objectives)} are not all finite numbers"
            said = pruned or (unknown if result is not None else what_happened(job, task, options))
            word, state = ("pruned", TrialState.PRUNED) if pruned else ("failed", TrialState.FAIL)
            write_end(job, word, said)
            self.storage.set_trial_user_attr(self.all()[job.number]._trial_id, "reason", said)
            self.study.tell(job.number, state=state)
        self.write_record()
        return word, said

    def best(self) -> list[FrozenTrial]:
        """The best trial, the first of equals; with several objectives those that no other betters in all of them."""
        front = sorted(self.study.best_trials, key=lambda trial: trial.number)
        if len(self.search.objectives) == 1:
            return front[:1]
        sign = -1 if self.search.directions[0] == "maximize" else 1
        return sorted(front, key=lambda trial: sign * trial.values[0])

    def write_record(self) -> None:
        """Write down how many trials ended how, and which are the best."""
        ended = [trial.state.name.lower() for trial in self.all() if trial.state.is_finished()]
        best = [
            {
                "folder": trial.user_attrs["folder"],
                "overrides": trial.user_attrs["own"],
                **dict(zip(self.search.objectives, trial.values, strict=True)),
            }
            for trial in self.best()
        ]
        content = {"trials": {name: ended.count(name) for name in ("complete", "pruned", "fail")}, "best": best}
        atomic.write_json(self.folder / RECORD, content)

    def outcome(self) -> SearchOutcome:
        """What the trials came to."""
        self.write_record()
        trials, one = self.all(), len(self.search.objectives) == 1
        failed = [
            f"{self.jobs[trial.number]}: {trial.user_attrs['reason']}"
            for trial in trials
            if trial.state == TrialState.FAIL
        ]
        best = []
        for trial in self.best():
            job = self.jobs[trial.number]
            best.append(f"{'best     ' if one else 'front    '} {job}: {self.search.values_in_words(trial.values)}")
            if one:
                best.append(shlex.join(["kd-runner", *self.flags, *job.shared, *job.own]))
        return SearchOutcome(len(trials), failed, best)


def student_epochs(folder: Path) -> tuple[list[float], int]:
    """The validation accuracies of the student's epochs so far, and how many epochs it has."""
    student = atomic.read_json(folder / "result.json").get("student") or {}
    if "val_accuracies" in student:
        return student["val_accuracies"], len(student["val_accuracies"])
    now = atomic.read_json(folder / "now.json")
    return (now["val_accuracies"], now["epochs"]) if now.get("stage") == "student" else ([], 0)


def write_end(job: Job, status: str, reason: str) -> None:
    """Have the job's folder say how it ended, where the job could not."""
    path = job.folder / "result.json"
    result = {"overrides": [*job.shared, *job.own], **atomic.read_json(path)}
    atomic.write_json(path, {**result, "status": status, "error": reason})
