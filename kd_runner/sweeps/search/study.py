"""A search with Optuna: its settings, the next trial, and its study on disk.

The study is a journal in the search's folder. Each change of the study is one line there, written before anything
follows from it, so that a killed search goes on where it was. The values of a trial are a function of the sampler's
seed, the trial's number and the study as it stands.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from kd_runner.command_line.overrides import UNDECISIVE
from kd_runner.config.settings import Count, Section
from kd_runner.errors import SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import CHECKED, JOURNAL, LOCK, MULTIRUN
from kd_runner.formats import count, percent
from kd_runner.sweeps import folder as sweep_folder
from kd_runner.sweeps.search.space import Choice, Dimension, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

MOST_OF_JOURNAL = 2**30  # bytes
NAME = "kd-runner"  # the study's name in its journal
FILES_BEFORE_TRIALS = {JOURNAL, f"{JOURNAL}.lock", LOCK, CHECKED, MULTIRUN}

# The place of each objective among the student's numbers in result.json, and the direction that is better.
Direction = Literal["maximize", "minimize"]
OBJECTIVES: dict[str, tuple[tuple[str, ...], Direction]] = {
    "accuracy": (("best_val", "val_accuracy"), "maximize"),  # never the accuracy on the test images
    "parameters": (("parameters",), "minimize"),
    "macs": (("macs",), "minimize"),
    "latency": (("latency",), "minimize"),
}
TITLES = {"accuracy": "validation accuracy"}  # the titles of objectives whose name leaves something open
SURVIVORS = 4  # halving keeps one of so many trials, and looks again after so many times the epochs


def _check_objectives(objectives: Any) -> Any:
    names = list(map(str, objectives)) if isinstance(objectives, list) else []
    if not names or not set(names) <= set(OBJECTIVES) or len(set(names)) < len(names):
        raise ValueError(f"must be one or more of {', '.join(OBJECTIVES)}, each once, such as [accuracy,parameters]")
    return objectives


class SearchSettings(Section):
    """The settings of a search; the keys of conf/hydra/sweeper/optuna.yaml.

    Args:
        trials: The number of trials in the end.
        startup_trials: The number of trials that are drawn at random before the sampler learns from trials, and that
            have completed before the median counts.
        pruning_warmup: The number of epochs that the student of every trial has.
    """

    trials: Count
    sampler: Literal["tpe", "random", "nsga2"]
    seed: Annotated[int, Field(strict=True, ge=0)]
    startup_trials: Count
    objectives: Annotated[list[str], BeforeValidator(_check_objectives)]
    pruning: Literal["none", "median", "halving"]
    pruning_warmup: Count

    @field_validator("startup_trials")
    @classmethod
    def _is_a_generation(cls, startup_trials: int, info: ValidationInfo) -> int:
        if info.data.get("sampler") == "nsga2" and startup_trials < 2:
            raise ValueError("must be 2 or more with sampler=nsga2")
        return startup_trials

    @field_validator("pruning")
    @classmethod
    def _goes_by_accuracy(cls, pruning: str, info: ValidationInfo) -> str:
        objectives = info.data.get("objectives", ["accuracy"])
        if pruning != "none" and objectives != ["accuracy"]:
            raise ValueError(f"must be none unless objectives=[accuracy] (it is [{','.join(objectives)}])")
        return pruning

    @property
    def directions(self) -> list[Direction]:
        return [OBJECTIVES[name][1] for name in self.objectives]

    def sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of the trial with that number, which remembers nothing of other trials."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=self.startup_trials)
        # The liar makes trials that run at the same time try different values.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup_trials, constant_liar=True)

    def values_of(self, result: Mapping[str, Any]) -> list[float] | None:
        """The objectives of a completed run; None where one of them is no finite number."""
        values = []
        for name in self.objectives:
            value: Any = result["student"]
            for key in OBJECTIVES[name][0]:
                value = value[key]
            if value is None or not math.isfinite(value):
                return None
            values.append(float(value))
        return values

    def values_in_words(self, values: Sequence[float]) -> str:
        """The objectives in words."""
        return ", ".join(
            f"{TITLES.get(name, name)} {format_value(name, value)}"
            for name, value in zip(self.objectives, values, strict=True)
        )


def format_value(objective: str, value: float) -> str:
    """An objective's value, for people."""
    if objective == "accuracy":
        return percent(value)
    return f"{1000 * value:.3f} ms" if objective == "latency" else count(value)


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Optuna's object for the values of a key."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.is_whole:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def propose_trial(search: SearchSettings, space: Space, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The trial that follows these trials.

    A study in memory is asked for it, since asking writes several lines to a journal. The trial can then be added to
    the journal in one line.
    """
    study = optuna.create_study(directions=search.directions, sampler=search.sampler_of(len(trials)))
    study.add_trials(trials)
    study.ask({dimension.key: distribution_of(dimension) for dimension in space.dimensions})
    return study.trials[-1]


def identity(search: SearchSettings, space: Space) -> dict[str, str]:
    """The settings that must not change while a search goes on, by key: all but the number of trials."""
    settings = search.model_dump(exclude={"trials"})
    fixed = [override.partition("=")[::2] for override in space.fixed if not override.startswith(UNDECISIVE)]
    return {
        **{dimension.key: str(dimension) for dimension in space.dimensions},
        **dict(fixed),
        **{f"hydra.sweeper.{name}": str(value) for name, value in settings.items()},
    }


def refuse_other_search(folder: Path, search: SearchSettings, space: Space, resumed: bool) -> None:
    """Raise SettingsError where the folder holds another search, or anything else."""
    if not (folder / JOURNAL).exists():
        names = sorted(path.name for path in folder.iterdir() if path.name not in FILES_BEFORE_TRIALS)
        if names:
            raise SettingsError(f"hydra.sweep.dir: must be empty for a new search, {folder} holds {names[0]}")
        return
    if not resumed:
        raise SettingsError(f"hydra.sweep.dir: {folder} holds a search already; to go on with it, add resume={folder}")
    study = open_study(folder, search)[0]
    settings = identity(search, space)
    recorded = study.user_attrs.get("search", settings)
    if not isinstance(recorded, dict):
        raise SettingsError(f"{folder / JOURNAL} cannot be read (it does not say what it searches)")
    for key in [*settings, *recorded]:
        was, is_now = recorded.get(key, "not set"), settings.get(key, "not set")
        if was != is_now:
            raise SettingsError(f"resume: {folder} holds another search: {key} was {was}, is {is_now}")


def open_study(folder: Path, search: SearchSettings) -> tuple[optuna.Study, JournalStorage]:
    """The study in the folder, a new one where there is none, and its storage.

    Raises:
        SettingsError: the journal cannot be read.
    """
    path = folder / JOURNAL
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        if NAME in optuna.get_all_study_names(storage):
            return optuna.load_study(study_name=NAME, storage=storage), storage
        return optuna.create_study(study_name=NAME, storage=storage, directions=search.directions), storage
    except Exception as error:  # whatever is in the file
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}: {one_line(error)})") from error


def _content_of(journal: Path) -> bytes:
    try:
        return read_plain(journal, MOST_OF_JOURNAL)
    except OSError as error:
        raise SettingsError(f"{journal} cannot be read ({error.strerror})") from error


@contextmanager
def exclusive_study(folder: Path, resumed: bool = False) -> Iterator[None]:
    """Keep other processes from searching in the folder during this block, and mend the journal of a killed one.

    Raises:
        SettingsError: another process searches there.
    """
    with sweep_folder.exclusive_folder(folder, resumed):
        journal = folder / JOURNAL
        Path(f"{journal}.lock").unlink(missing_ok=True)  # Optuna would wait for the lock of a killed process
        if journal.exists():
            content = _content_of(journal)
            if not content.endswith(b"\n"):  # half a line, to which the next would be added
                atomic.write(journal, content[: content.rfind(b"\n") + 1])
        yield
