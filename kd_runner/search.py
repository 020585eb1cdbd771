"""A search with Optuna on one machine: each trial is a run, whose settings are chosen by what those before it came to.

The study is a journal in the search's folder. Each change of it is one line there, written before anything follows from
it, so that a killed search goes on where it was. What a trial tries is a function of the sampler's seed, its number
and the study as it stands.
"""

from __future__ import annotations

import logging
import math
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from kd_runner import atomic
from kd_runner.config import SettingsError
from kd_runner.grid import (
    CHECKED,
    Board,
    Compose,
    Job,
    Options,
    examined,
    finished,
    refuse_common_folders,
    slots_of,
    task_of,
    what_happened,
    write_grid,
)
from kd_runner.hints import did_you_mean
from kd_runner.pool import Event, Nursery, Pool, Slot, Task
from kd_runner.space import Choice, Dimension, Space

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

JOURNAL, RECORD, LOCK = "study.journal", "search.json", ".search.lock"
NAME = "kd-runner"  # of the study in its journal
OURS = {JOURNAL, f"{JOURNAL}.lock", LOCK, CHECKED, "multirun.yaml"}  # what a search leaves before its first trial

# Where an objective stands among the student's numbers in result.json, and which way is better.
Direction = Literal["maximize", "minimize"]
OBJECTIVES: dict[str, tuple[tuple[str, ...], Direction]] = {
    "accuracy": (("best_val", "val_accuracy"), "maximize"),  # never the test images'
    "parameters": (("parameters",), "minimize"),
    "macs": (("macs",), "minimize"),
    "latency": (("latency",), "minimize"),
}
SAMPLERS = ("tpe", "random", "nsga2")
PRUNING = ("none", "median", "halving")
SURVIVORS = 4  # of so many trials, halving keeps one, and looks again after so many times the epochs


@dataclass(frozen=True)
class Search:
    """How a search goes; the keys of conf/hydra/sweeper/optuna.yaml.

    Args:
        trials: How many there are in the end.
        sampler: One of SAMPLERS.
        startup_trials: Drawn at random before the sampler goes by them, completed before the median does.
        objectives: Names in OBJECTIVES.
        pruning: One of PRUNING.
        pruning_warmup: Epochs that the student of every trial has.
    """

    trials: int
    sampler: str
    seed: int
    startup_trials: int
    objectives: list[str]
    pruning: str
    pruning_warmup: int

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("seed", 0), ("startup_trials", 1), ("pruning_warmup", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise SettingsError(f"hydra.sweeper.{name}: must be a whole number of {least} or more, got {value}")
        for name, known in (("sampler", SAMPLERS), ("pruning", PRUNING)):
            value = getattr(self, name)
            if value not in known:
                raise SettingsError(f"hydra.sweeper.{name}: must be one of {', '.join(known)}, got {value}")
        given = self.objectives
        if not (isinstance(given, list) and given and set(map(str, given)) <= set(OBJECTIVES)) or len(
            set(map(str, given))
        ) < len(given):
            raise SettingsError(
                f"hydra.sweeper.objectives: must be one or more of {', '.join(OBJECTIVES)}, each once, "
                f"such as [accuracy,parameters], got {given}"
            )
        if self.pruning != "none" and given != ["accuracy"]:
            raise SettingsError(
                f"hydra.sweeper.pruning: must be none unless accuracy is the only objective, got {self.pruning} with "
                f"objectives=[{','.join(given)}]"
            )
        if self.sampler == "nsga2" and self.startup_trials < 2:
            raise SettingsError("hydra.sweeper.startup_trials: must be 2 or more with sampler=nsga2, got 1")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Search:
        """From the keys that were given.

        Raises:
            SettingsError: a key that is missing or does not exist, or a value that cannot work.
        """
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                raise SettingsError(f"hydra.sweeper.{name}: no such setting{did_you_mean(name, known)}")
        for name in known:
            if name not in given:
                raise SettingsError(f"hydra.sweeper.{name}: must be given")
        return cls(**given)

    @property
    def directions(self) -> list[Direction]:
        return [OBJECTIVES[name][1] for name in self.objectives]

    def sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of the trial with that number, which remembers nothing of others."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=self.startup_trials)
        # The liar keeps trials that run at the same time apart.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup_trials, constant_liar=True)

    def values_of(self, result: Mapping[str, Any]) -> list[float] | None:
        """The objectives of a completed run; None where one of them is no finite number."""
        found = []
        for name in self.objectives:
            value: Any = result["student"]
            for key in OBJECTIVES[name][0]:
                value = value[key]
            if value is None or not math.isfinite(value):
                return None
            found.append(float(value))
        return found

    def said(self, values: Sequence[float]) -> str:
        """The objectives in words."""
        return ", ".join(f"{name} {shown(name, value)}" for name, value in zip(self.objectives, values, strict=True))


def shown(objective: str, value: float) -> str:
    """An objective's value, for people."""
    if objective == "accuracy":
        return f"{100 * value:.2f} %"
    return f"{1000 * value:.3f} ms" if objective == "latency" else f"{value:,.0f}"


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Optuna's words for the values of a key."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def proposed(search: Search, space: Space, earlier: Sequence[FrozenTrial]) -> FrozenTrial:
    """The trial that follows the earlier ones.

    It is asked for in a study in memory: in the journal, where asking takes several lines, it then appears whole.
    """
    study = optuna.create_study(directions=search.directions, sampler=search.sampler_of(len(earlier)))
    study.add_trials(earlier)
    study.ask({each.key: distribution_of(each) for each in space.dimensions})
    return study.trials[-1]


def identity(search: Search, space: Space) -> dict[str, str]:
    """What must not change while a search goes on, by key: all but the number of trials."""
    settings = {f"hydra.sweeper.{name}": str(value) for name, value in asdict(search).items() if name != "trials"}
    fixed = dict(word.partition("=")[::2] for word in space.fixed)
    return {**{each.key: str(each) for each in space.dimensions}, **fixed, **settings}


def refuse_other_search(folder: Path, search: Search, space: Space, resumed: bool) -> None:
    """Raise SettingsError where the folder holds another search, or anything else."""
    if not (folder / JOURNAL).exists():
        left = [path.name for path in folder.iterdir() if path.name not in OURS]
        if left:
            raise SettingsError(f"hydra.sweep.dir: must be empty for a new search, {folder} holds {sorted(left)[0]}")
        return
    if not resumed:
        raise SettingsError(f"hydra.sweep.dir: {folder} holds a search already; to go on with it, add resume={folder}")
    study = studied(folder, search)[0]
    now = identity(search, space)
    was = study.user_attrs.get("search", now)
    for key in [*now, *was]:
        if was.get(key) != now.get(key):
            raise SettingsError(
                f"resume: {folder} holds another search: {key} was {was.get(key, 'not set')}, "
                f"is {now.get(key, 'not set')}"
            )


def studied(folder: Path, search: Search) -> tuple[optuna.Study, JournalStorage]:
    """The study in the folder, a new one where there is none.

    Raises:
        SettingsError: the journal is none of Optuna's.
    """
    path = folder / JOURNAL
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        if any(each.study_name == NAME for each in optuna.get_all_study_summaries(storage)):
            return optuna.load_study(study_name=NAME, storage=storage), storage
        return optuna.create_study(study_name=NAME, storage=storage, directions=search.directions), storage
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process searches in the folder, and what a killed one left there is mended.

    Raises:
        SettingsError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise SettingsError(f"hydra.sweep.dir: another process searches in {folder}") from None
    try:
        journal = folder / JOURNAL
        Path(f"{journal}.lock").unlink(missing_ok=True)  # Optuna's own, which would be waited for
        if journal.exists():
            content = journal.read_bytes()
            if not content.endswith(b"\n"):  # the beginning of a line, to which the next would be added
                atomic.write(journal, content[: content.rfind(b"\n") + 1])
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Args:
        failed: A line for each trial that failed.
        best: Lines that name the best trial, or the trials that no other betters in all objectives.
    """

    count: int
    failed: list[str]
    best: list[str]


def run_search(
    search: Search, space: Space, folder: Path, options: Options, flags: Sequence[str], compose: Compose
) -> Found:
    """Run the trials that are missing, in a folder that is this process's `alone`.

    Args:
        flags, compose: As in `kd_runner.grid`.

    Raises:
        SettingsError: settings that cannot work; nothing was started.
    """
    trials = Trials(search, space, folder, flags, compose) if (folder / JOURNAL).exists() else None
    if trials is not None and not trials.left:
        log.info("search    %d of %d trials have ended before", len(trials.jobs), search.trials)
        return trials.found()
    nursery = Nursery()
    try:
        checks = to_check(search, space, folder, compose)
        on_cpu = all(job.settings["trainer"]["accelerator"] == "cpu" for job in checks)
        slots, threads = slots_of(options, nursery, on_cpu)
        try:
            examined(checks, folder, nursery, slots[0], threads)
        except SettingsError as error:  # the same of many jobs, often
            raise SettingsError(str(error).splitlines()[0]) from error
        shutil.rmtree(folder / CHECKED, ignore_errors=True)
        trials = trials or Trials(search, space, folder, flags, compose)
        names = sorted({slot.device for slot in slots})
        log.info(
            "search    %d trials, %d at a time on %s, %d thread%s each: %s",
            trials.left, len(slots), ", ".join(names), threads, "s" if threads > 1 else "", folder,
        )  # fmt: skip
        with Board(trials.left) as board:
            trials.run(nursery, slots, threads, options, board)
    finally:
        nursery.close()
    return trials.found()


def to_check(search: Search, space: Space, folder: Path, compose: Compose) -> list[Job]:
    """The first trial as a job, and those that differ from it in one key, at the ends of what that key may be.

    Raises:
        SettingsError: one of them cannot be composed.
    """
    jobs = []
    for number, own in enumerate(space.around(proposed(search, space, []).params)):
        try:
            settings, name = compose(number, [*space.fixed, *own])
        except SettingsError as error:
            raise SettingsError(f"job #{number} ({' '.join(own)}): {str(error).splitlines()[0]}") from error
        jobs.append(Job(number, own, list(space.fixed), settings, folder / name))
    refuse_common_folders(jobs, folder)
    return jobs


class Trials:
    """The trials of a search: asked for, watched and told, in the study and in their folders.

    Args:
        flags, compose: As in `kd_runner.grid`.
    """

    def __init__(self, search: Search, space: Space, folder: Path, flags: Sequence[str], compose: Compose) -> None:
        self.search, self.space, self.folder, self.flags, self.compose = search, space, folder, flags, compose
        self.study, self.storage = studied(folder, search)
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
    def left(self) -> int:
        """How many trials are still to be run, or to be gone on with."""
        return max(self.search.trials, len(self.jobs)) - sum(trial.state.is_finished() for trial in self.all())

    def run(self, nursery: Nursery, slots: Sequence[Slot], threads: int, options: Options, board: Board) -> None:
        """Run all that are left: first those that were interrupted, in their folders, then new ones."""

        def more() -> Task | None:
            while len(self.jobs) < self.search.trials:
                job = self.asked(board)
                if job is not None:
                    return task(job)
            return None

        def task(job: Job) -> Task:
            board.jobs[job.name] = job
            return task_of(job, {}, self.flags)

        def notify(event: Event, task: Task) -> None:
            if event == "end":
                word, said = self.told(board.jobs[task.name], task, options)
                board.say_end(board.jobs[task.name], word, said, task.seconds)
            else:
                board.notify(event, task)

        def tick(running: Sequence[Task]) -> None:
            for each in running:
                if self.search.pruning != "none" and self.verdict(board.jobs[each.name]):
                    pool.stop(each)
            board.tick(running)

        pool = Pool(nursery, slots, threads, options.timeout_s, options.grace_s, options.retries, notify, tick)
        interrupted = [trial.number for trial in self.all() if trial.state == TrialState.RUNNING]
        pool.run([task(self.jobs[number]) for number in interrupted], more)

    def asked(self, board: Board) -> Job | None:
        """The next trial's job, which is in the study from now on; None where its settings cannot be composed."""
        trial = proposed(self.search, self.space, self.all())
        own, reason = self.space.words(trial.params), ""
        try:
            _, name = self.compose(trial.number, [*self.space.fixed, *own])
        except SettingsError as error:  # of values that go well with some others, and not with these
            name, reason = str(trial.number), str(error).splitlines()[0]
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

        It depends on the accuracies alone, not on how late they are looked at.
        """
        if job.number in self.verdicts:
            return self.verdicts[job.number]
        accuracies, epochs = student_epochs(job.folder)
        trial = self.all()[job.number]
        for epoch in range(self._unreported.get(job.number, trial.last_step or 1), len(accuracies) + 1):
            self.storage.set_trial_intermediate_value(trial._trial_id, epoch, accuracies[epoch - 1])
            self._unreported[job.number] = epoch + 1
            reason = self.worse(job.number, epoch) if epoch < epochs else ""
            if reason:
                at = f"at epoch {epoch} of {epochs}: validation accuracy"
                self.verdicts[job.number] = f"{at} {shown('accuracy', max(accuracies[:epoch]))} at best, {reason}"
                return self.verdicts[job.number]
        return ""

    def worse(self, number: int, epoch: int) -> str:
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

    def told(self, job: Job, task: Task, options: Options) -> tuple[str, str]:
        """Tell the study what became of a job that has ended; returns that in a word, and more about it."""
        pruned = self.verdict(job) if self.search.pruning != "none" else ""
        result = finished(job)
        values = self.search.values_of(result) if result is not None else None
        if not pruned and values is not None:
            self.study.tell(job.number, values)
            word, said = "done", self.search.said(values)
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

    def found(self) -> Found:
        """What the trials came to."""
        self.write_record()
        trials, one = self.all(), len(self.search.objectives) == 1
        failed = [f"{self.jobs[each.number]}: {each.user_attrs['reason']}" for each in trials if _failed(each)]
        best = []
        for trial in self.best():
            job = self.jobs[trial.number]
            best.append(f"{'best     ' if one else 'front    '} {job}: {self.search.said(trial.values)}")
            if one:
                best.append(shlex.join(["kd-runner", *self.flags, *job.shared, *job.own]))
        return Found(len(trials), failed, best)


def _failed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL


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
