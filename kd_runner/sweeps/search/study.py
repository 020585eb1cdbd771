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
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from kd_runner.command_line.begun_folder import begun_in, placed_word
from kd_runner.command_line.overrides import is_undecisive
from kd_runner.config.field_types import Count, Section
from kd_runner.errors import SettingsError
from kd_runner.files.contents import is_being_written
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import CHECKED, DRIVERS, JOURNAL, LOCK, MULTIRUN
from kd_runner.formats import count, percent
from kd_runner.sweeps.search.cma_es import values_by_cma_es
from kd_runner.sweeps.search.drivers import Driver, has_study, mend_journal, one_of_many, the_only_one
from kd_runner.sweeps.search.space import Choice, Dimension, Numbers, Space
from kd_runner.sweeps.search.storage import check_storage, open_study, refuse_other_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

MOST_OF_JOURNAL = 2**30  # bytes
FILES_BEFORE_TRIALS = {JOURNAL, f"{JOURNAL}.lock", LOCK, CHECKED, MULTIRUN, DRIVERS}

# The place of each objective among the student's numbers in result.json, and the direction that is better.
Direction = Literal["maximize", "minimize"]
OBJECTIVES: dict[str, tuple[tuple[str, ...], Direction]] = {
    "accuracy": (("best_val", "val_accuracy"), "maximize"),  # never the accuracy on the test images
    "parameters": (("parameters",), "minimize"),
    "macs": (("macs",), "minimize"),
    "latency": (("latency",), "minimize"),
}
TITLES = {"accuracy": "validation accuracy"}  # the titles of objectives whose name leaves something open
NEEDED_PACKAGES = {"cmaes": "cmaes", "gp": "scipy"}  # beside Optuna, by the sampler
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
        seeds: The number of seeds that a trial has that may be the best.
        timeout: Seconds after which this driver starts no trial; None for no limit.
        storage: The place of the study that several drivers share; None where this one is the only one.
    """

    trials: Count
    sampler: Literal["tpe", "random", "nsga2", "cmaes", "gp"]
    seed: Annotated[int, Field(strict=True, ge=0)]
    startup_trials: Count
    objectives: Annotated[list[str], BeforeValidator(_check_objectives)]
    pruning: Literal["none", "median", "halving", "asha", "hyperband"]
    pruning_warmup: Count
    seeds: Count = 1
    timeout: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)] | None = None
    storage: Annotated[str | None, BeforeValidator(check_storage)] = None

    @field_validator("sampler")
    @classmethod
    def _is_installed(cls, sampler: str) -> str:
        package = NEEDED_PACKAGES.get(sampler)
        if package and find_spec(package) is None:
            raise ValueError(f"{sampler} needs {package}: pip install {package}")
        return sampler

    @field_validator("objectives")
    @classmethod
    def _suits_the_sampler(cls, objectives: list[str], info: ValidationInfo) -> list[str]:
        sampler = info.data.get("sampler")
        if sampler in NEEDED_PACKAGES and len(objectives) > 1:
            raise ValueError(f"must be one with sampler={sampler} (tpe, random and nsga2 take several)")
        return objectives

    @field_validator("seeds")
    @classmethod
    def _has_a_mean(cls, seeds: int, info: ValidationInfo) -> int:
        objectives = info.data.get("objectives", ["accuracy"])
        if seeds > 1 and objectives != ["accuracy"]:
            raise ValueError(f"must be 1 unless objectives=[accuracy] (it is [{','.join(objectives)}])")
        return seeds

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

    def seed_of(self, number: int) -> int:
        """The sampler's seed in the trial with that number."""
        return int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])

    def sampler_of(self, number: int) -> optuna.samplers.BaseSampler:
        """The sampler of the trial with that number, which remembers nothing of other trials."""
        seed = self.seed_of(number)
        if self.sampler in ("random", "cmaes"):  # CMA-ES: the first trials, and choices
            return optuna.samplers.RandomSampler(seed=seed)
        if self.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=self.startup_trials)
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
    distributions = {dimension.key: distribution_of(dimension) for dimension in space.dimensions}
    study.ask(distributions)
    trial = study.trials[-1]
    if search.sampler == "cmaes":
        seeds = (search.seed, search.seed_of(trial.number))
        maximize = search.directions[0] == "maximize"
        values = values_by_cma_es(space, trials, search.startup_trials, seeds, maximize) or {}
        params = {**trial.params, **values}
        number, trial = trial.number, create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        trial.number = number
    return trial


def refuse_other_space(search: SearchSettings, space: Space) -> None:
    """Raise SettingsError where the sampler cannot search this space."""
    numbers = [dimension for dimension in space.dimensions if isinstance(dimension, Numbers)]
    if search.sampler == "cmaes" and len(numbers) < 2:
        raise SettingsError(
            "hydra.sweeper.sampler: cmaes needs two keys with an interval or a range, "
            f"got {len(numbers)} (try tpe or gp)"
        )


def identity(search: SearchSettings, space: Space) -> dict[str, str]:
    """The settings that must not change while a search goes on, by key: all but how many trials it has, and where."""
    settings = search.model_dump(exclude={"trials", "timeout", "storage", *(() if search.seeds > 1 else ("seeds",))})
    fixed = [override.partition("=")[::2] for override in space.fixed if not is_undecisive(override)]
    return {
        **{dimension.key: str(dimension) for dimension in space.dimensions},
        **dict(fixed),
        **{f"hydra.sweeper.{name}": str(value) for name, value in settings.items()},
    }


def refuse_other_search(driver: Driver, search: SearchSettings, space: Space, resumed: bool) -> None:
    """Raise SettingsError where the driver's folder holds another search, or anything else."""
    folder = driver.search_folder
    refuse_other_storage(folder, search.storage)
    if not has_study(folder):
        files = sorted(path.name for path in folder.iterdir() if path.name not in FILES_BEFORE_TRIALS)
        names = [name for name in files if not is_being_written(name)]  # by a driver that starts beside this one
        if names:
            raise SettingsError(f"hydra.sweep.dir: must be empty for a new search, {folder} holds {names[0]}")
        return
    if not resumed and not driver.is_one_of_many:
        raise SettingsError(f"hydra.sweep.dir: {folder} holds a search already; to go on with it, add resume={folder}")
    study = open_study(driver, search.storage, search.directions)[0]
    settings = identity(search, space)
    recorded = study.user_attrs.get("search", settings)
    if not isinstance(recorded, dict):
        raise SettingsError(f"{folder / JOURNAL} cannot be read (it does not say what it searches)")
    begun = begun_in(folder).folder
    for key in [*settings, *recorded]:
        was, is_now = recorded.get(key, "not set"), settings.get(key, "not set")
        words = (f"{key}={was}", f"{key}={is_now}")
        if was != is_now and (
            begun is None or len({placed_word(word, begun, is_compared=True) for word in words}) == 2
        ):
            raise SettingsError(f"resume: {folder} holds another search: {key} was {was}, is {is_now}")


def _content_of(journal: Path) -> bytes:
    try:
        return read_plain(journal, MOST_OF_JOURNAL)
    except OSError as error:
        raise SettingsError(f"{journal} cannot be read ({error.strerror})") from error


@contextmanager
def driver_of(folder: Path, storage: str | None, resumed: bool = False) -> Iterator[Driver]:
    """This process as a driver of the search in the folder, the only one without `storage`, during this block.

    Raises:
        SettingsError: another process searches there that shares its search with none, or this one would not.
    """
    with one_of_many(folder, resumed) if storage else the_only_one(folder, resumed) as driver:
        lock = Path(f"{folder / JOURNAL}.lock")
        if lock.is_symlink() or not storage:
            lock.unlink(missing_ok=True)  # Optuna would wait for the lock of a killed process
        journal = folder / JOURNAL
        if journal.exists():
            _content_of(journal)  # or it is refused
            if not storage:
                mend_journal(journal)
        yield driver
