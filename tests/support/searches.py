"""Spaces and settings of searches, and searches whose jobs are played."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

pytest.importorskip("optuna", reason="a search needs optuna")

from optuna.trial import TrialState

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.config.validation import validate_section
from kd_runner.errors import SettingsError
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.drivers import Driver
from kd_runner.sweeps.search.space import Space, space_of
from kd_runner.sweeps.search.study import SearchSettings, driver_of, refuse_other_search
from kd_runner.sweeps.search.trials import Trials


def space(*words: str) -> Space:
    return space_of(OverridesParser.create().parse_overrides(list(words)))


def search_settings(**changed: Any) -> SearchSettings:
    default = {"trials": 6, "sampler": "tpe", "seed": 0, "startup_trials": 3, "objectives": ["accuracy"]}
    settings = {**default, "pruning": "none", "pruning_warmup": 2, **changed}
    return validate_section(SearchSettings, settings, "hydra.sweeper.")


WORDS = ("temperature.value=interval(1,8)", "batch_size=int(interval(16,64))")


def compose(number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
    return {}, str(number), FromEnvironment({}, {})


def trials_of(driver: Driver, storage: str, count: int = 7, **changed: Any) -> Trials:
    search = search_settings(trials=count, storage=storage, **changed)
    return Trials(search, space(*WORDS), driver, [], compose)


PLAYED_WORDS = (
    "temperature.value=interval(1,8)",
    "student.hidden=choice([16],[8,8])",
    "batch_size=int(interval(16,64))",
)


class Played:
    """A search whose jobs are played: nothing is trained, and a trial's accuracies follow from its overrides.

    Args:
        late: Epochs of a job that end before they are looked at.
    """

    def __init__(self, folder: Path, search: SearchSettings, late: int = 1, bad: str = " ") -> None:
        self.folder, self.search, self.late, self.bad = folder, search, late, bad
        self.live_view = LiveView(search.trials)
        with driver_of(folder, search.storage) as driver:
            refuse_other_search(driver, search, space(*PLAYED_WORDS), resumed=(folder / "study.journal").exists())
            self.trials = Trials(search, space(*PLAYED_WORDS), driver, [], self.compose)
            running = [each.number for each in self.trials.all() if each.state == TrialState.RUNNING]
            for number in running:
                self.play(number)
            while len(self.trials.jobs) < search.trials:
                job = self.trials.ask_for_trial(self.live_view)
                if job is not None:
                    self.play(job.number)
            self.outcome = self.trials.outcome()

    def compose(self, number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
        if any(self.bad in word for word in words):
            raise SettingsError(f"{self.bad} goes not well with the others")
        return {}, str(number), FromEnvironment({}, {})

    def play(self, number: int) -> None:
        job = self.trials.jobs[number]
        job.folder.mkdir(exist_ok=True)
        temperature = float(job.varying[0].partition("=")[2])
        accuracies = [0.9 - 0.02 * abs(temperature - 3) * epoch for epoch in range(1, 9)]
        task = Task(job.name, job.folder, [], [], code=0)
        now = {"stage": "student", "epochs": 8, "val_accuracies": []}
        for epoch in range(1, 9):
            if epoch % self.late == 0:
                (job.folder / "now.json").write_text(json.dumps({**now, "val_accuracies": accuracies[:epoch]}))
                if self.search.pruning != "none" and self.trials.report_epochs(job):
                    break
        else:
            student = {"best_val": {"val_accuracy": max(accuracies)}, "val_accuracies": accuracies}
            student |= {"parameters": 100 * len(job.varying[1]), "macs": 10, "latency": temperature}
            (job.folder / "result.json").write_text(json.dumps({"status": "completed", "student": student}))
        self.trials.tell_outcome(job, task, None)

    @property
    def told(self) -> list[Any]:
        return [(each.state, each.params, each.values, each.user_attrs) for each in self.trials.all()]
