"""Settings of a search, its sampler and its folder."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from searches import search_settings, space  # skips where Optuna is not installed

from kd_runner.errors import SettingsError
from kd_runner.sweeps.search.study import driver_of, propose_trial


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"trials": 0}, "hydra.sweeper.trials: must be greater than or equal to 1, got 0"),
        ({"trials": True}, "hydra.sweeper.trials: must be a valid integer, got True"),
        ({"trials": None}, "hydra.sweeper.trials: must be a valid integer, got None"),
        ({"seed": -1}, "hydra.sweeper.seed: must be greater than or equal to 0, got -1"),
        ({"sampler": "grid"}, "hydra.sweeper.sampler: must be 'tpe', 'random', 'nsga2', 'cmaes' or 'gp', got 'grid'"),
        (
            {"pruning": "yes"},
            "hydra.sweeper.pruning: must be 'none', 'median', 'halving', 'asha' or 'hyperband', got 'yes'",
        ),
        ({"objectives": []}, "hydra.sweeper.objectives: must be one or more of accuracy, parameters, macs, latency"),
        ({"objectives": ["f1"]}, "hydra.sweeper.objectives: must be one or more of"),
        ({"objectives": [["accuracy"]]}, "hydra.sweeper.objectives: must be one or more of"),
        ({"objectives": ["macs", "macs"]}, "hydra.sweeper.objectives: must be one or more of"),
        ({"objectives": "accuracy"}, "hydra.sweeper.objectives: must be one or more of"),
        (
            {"objectives": ["accuracy", "macs"], "pruning": "median"},
            "hydra.sweeper.pruning: must be none unless objectives=[accuracy] (it is [accuracy,macs]), got 'median'",
        ),
        ({"sampler": "nsga2", "startup_trials": 1}, "hydra.sweeper.startup_trials: must be 2 or more"),
        (
            {"sampler": "cmaes", "objectives": ["accuracy", "macs"]},
            "hydra.sweeper.objectives: must be one with sampler=cmaes",
        ),
        (
            {"objectives": ["accuracy", "macs"], "seeds": 2},
            "hydra.sweeper.seeds: must be 1 unless objectives=[accuracy] (it is [accuracy,macs]), got 2",
        ),
        ({"seeds": 0}, "hydra.sweeper.seeds: must be greater than or equal to 1, got 0"),
        ({"timeout": 0}, "hydra.sweeper.timeout: must be greater than 0, got 0"),
        ({"storage": "here"}, "hydra.sweeper.storage: must be null, journal, or the address of a database"),
        ({"trails": 3}, "hydra.sweeper.trails: no such setting (did you mean trials?)"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        search_settings(**changed)
    assert str(refused.value).startswith(line)


def test_a_package_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kd_runner.sweeps.search.study.find_spec", lambda name: None)
    for sampler, package in (("cmaes", "cmaes"), ("gp", "scipy")):
        with pytest.raises(
            SettingsError, match=f"sampler: {sampler} needs {package}: pip install {package}, got '{sampler}'"
        ):
            search_settings(sampler=sampler)
    search_settings(sampler="tpe")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", pytest.param("gp", marks=pytest.mark.slow)])
def test_trials_learn_from_those_before_them(sampler: str) -> None:
    """The last ten of fifty trials come closer to the lowest sum of five numbers than random ones."""

    def reached(sampler: str) -> float:
        found = space(*(f"{key}=interval(1,100)" for key in "abcde"))
        trials: list[FrozenTrial] = []
        for _ in range(50):
            trial = propose_trial(search_settings(sampler=sampler, startup_trials=10), found, trials)
            arguments = {"params": trial.params, "distributions": trial.distributions}
            trials.append(
                create_trial(
                    state=TrialState.COMPLETE,
                    value=-sum(trial.params.values()),
                    system_attrs=trial.system_attrs,
                    **arguments,
                )
            )
        return -statistics.mean(trial.values[0] for trial in trials[40:])

    assert reached(sampler) < 0.7 * reached("random")


def test_an_objective_that_is_no_number_fails_its_trial(tmp_path: Path) -> None:
    search = search_settings(objectives=["accuracy", "macs"])
    student = {"best_val": {"val_accuracy": 0.5}, "macs": None}
    assert search.values_of({"student": student}) is None
    assert search.values_of({"student": {**student, "macs": math.inf}}) is None
    assert search.values_of({"student": {**student, "macs": 7}}) == [0.5, 7.0]


def test_one_process_searches_in_a_folder(tmp_path: Path) -> None:
    with (
        driver_of(tmp_path, None),
        pytest.raises(SettingsError, match="another process runs the sweep in"),
        driver_of(tmp_path, None),
    ):
        pass
