"""A search with Optuna: how it goes, what it tries next, and its study on disk.

The study is a journal in the search's folder. Each change of it is one line there, written before anything follows from
it, so that a killed search goes on where it was. What a trial tries is a function of the sampler's seed, its number
and the study as it stands.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from kd_runner.command_line.overrides import UNDECISIVE
from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.run_folder import CHECKED
from kd_runner.suggestions import did_you_mean
from kd_runner.sweeps import folder as sweep_folder
from kd_runner.sweeps.folder import LOCK
from kd_runner.sweeps.search.space import Choice, Dimension, Space

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

JOURNAL = "study.journal"
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
TITLES = {"accuracy": "validation accuracy"}  # of objectives whose name leaves something open
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

    def values_in_words(self, values: Sequence[float]) -> str:
        """The objectives in words."""
        return ", ".join(
            f"{TITLES.get(name, name)} {format_value(name, value)}"
            for name, value in zip(self.objectives, values, strict=True)
        )


def format_value(objective: str, value: float) -> str:
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


def propose_trial(search: Search, space: Space, earlier: Sequence[FrozenTrial]) -> FrozenTrial:
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
    fixed = dict(word.partition("=")[::2] for word in space.fixed if not word.startswith(UNDECISIVE))
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
    study = open_study(folder, search)[0]
    now = identity(search, space)
    was = study.user_attrs.get("search", now)
    for key in [*now, *was]:
        if was.get(key) != now.get(key):
            raise SettingsError(
                f"resume: {folder} holds another search: {key} was {was.get(key, 'not set')}, "
                f"is {now.get(key, 'not set')}"
            )


def open_study(folder: Path, search: Search) -> tuple[optuna.Study, JournalStorage]:
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
def exclusive_study(folder: Path) -> Iterator[None]:
    """No other process searches in the folder, and what a killed one left there is mended.

    Raises:
        SettingsError: another one does.
    """
    with sweep_folder.exclusive_folder(folder):
        journal = folder / JOURNAL
        Path(f"{journal}.lock").unlink(missing_ok=True)  # Optuna's own, which would be waited for
        if journal.exists():
            content = journal.read_bytes()
            if not content.endswith(b"\n"):  # the beginning of a line, to which the next would be added
                atomic.write(journal, content[: content.rfind(b"\n") + 1])
        yield
