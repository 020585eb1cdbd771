"""The seeds of a trial: who gets them, and what a trial is worth."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from searches import WORDS, compose, search_settings, space  # skips where Optuna is not installed

from kd_runner.errors import SettingsError
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.seeds import SeedRun, may_be_best, rank_trials, seed_runs
from kd_runner.sweeps.search.study import distribution_of, driver_of
from kd_runner.sweeps.search.trials import Trials, refuse_foreign_trials


def ended(number: int, *accuracies: float) -> FrozenTrial:
    mean = sum(accuracies) / len(accuracies)
    trial = create_trial(state=TrialState.COMPLETE, value=mean, user_attrs={"seed_values": list(accuracies)})
    trial.number = number
    return trial


def test_seeds_go_to_trials_that_may_be_the_best() -> None:
    """Within one pooled standard deviation of the best mean: by hand, sqrt((0.02² + 0.04²) / 2) = 0.0316."""
    assert may_be_best(0.1, [], 2)
    assert may_be_best(0.1, [ended(0, 0.9)], 2)  # nobody has all seeds
    spread = [0.02 / math.sqrt(2), 0.04 / math.sqrt(2)]  # half the difference of two numbers of that deviation
    trials = [ended(0, 0.8 - spread[0], 0.8 + spread[0]), ended(1, 0.7 - spread[1], 0.7 + spread[1]), ended(2, 0.99)]
    assert may_be_best(0.8 - 0.0316, trials, 2)
    assert not may_be_best(0.8 - 0.0317, trials, 2)


def test_trials_with_all_seeds_come_first() -> None:
    trials = [ended(0, 0.9), ended(1, 0.6, 0.8), ended(2, 0.7, 0.7), ended(3, 0.8, 0.8)]
    assert [trial.number for trial in rank_trials(trials, 2)] == [3, 1, 2, 0]


def test_the_runs_of_a_trial_differ_in_the_seed_alone() -> None:
    job = Job(4, ["lr=0.1"], ["seed=7", "teacher=mlp"], {}, Path("/s/a/4"))
    first, second = seed_runs(job, 7, 3, Path("/s"))
    assert (first.name, first.overrides, first.folder) == (
        "#4 seed 8", ["teacher=mlp", "lr=0.1", "seed=8"], Path("/s/a/4_seed8"),
    )  # fmt: skip
    assert second.seed == 9
    job = Job(4, ["lr=0.1"], ["++seed=7", "teacher=mlp"], {}, Path("/s/a/4"))
    assert [run.overrides for run in seed_runs(job, 7, 3, Path("/s"))] == [first.overrides, second.overrides]


class Seeded:
    """A search with seeds whose runs are played; a run's accuracy is that of its trial and seed."""

    def __init__(self, folder: Path, accuracies: dict[int, list[float]], **changed: Any) -> None:
        self.accuracies, self.ran = accuracies, list[str]()
        with driver_of(folder, None) as driver:
            search = search_settings(trials=len(accuracies), seeds=3, **changed)
            self.trials = Trials(search, space(*WORDS), driver, [], compose)
            for job, _ in self.trials.orphans():
                self.play(job.number)
            while jobs := self.trials.new_trials(1, LiveView(3)):
                self.play(jobs[0].number)
            self.outcome = self.trials.outcome()

    def play(self, number: int) -> None:
        if not self.trials.runs_left(number):
            self.trials.conclude(number)
            return
        for _ in range(2):  # the first seed, then the others
            for job in self.trials.runs_left(number):
                seed = job.seed if isinstance(job, SeedRun) else 0
                self.ran.append(job.name)
                job.folder.mkdir(exist_ok=True)
                accuracy = self.accuracies[number][seed]
                if accuracy >= 0:
                    student = {"best_val": {"val_accuracy": accuracy}}
                    (job.folder / "result.json").write_text(json.dumps({"status": "completed", "student": student}))
                task = Task(job.name, job.folder, [], [], code=0 if accuracy >= 0 else 1)
                self.trials.tell_outcome(job, task, None)
            if self.trials.all()[number].state != TrialState.RUNNING:
                return


def test_a_trial_is_the_mean_of_its_seeds(tmp_path: Path) -> None:
    played = Seeded(tmp_path, {0: [0.80, 0.82, 0.84], 1: [0.5, 1, 1], 2: [0.81, 0.6, 0.6], 3: [0.9, -1, 0.94]})
    values = [trial.values[0] for trial in played.trials.all()]
    assert values == pytest.approx([0.82, 0.5, 2.01 / 3, 0.92])
    assert [name for name in played.ran if name.startswith("#1")] == ["#1"]
    assert played.ran[:3] == ["#0", "#0 seed 1", "#0 seed 2"]
    assert played.outcome.best[0].startswith("best      #0 ")  # trial 3 lacks a seed
    assert played.outcome.best[0].endswith("mean of 3 seeds")
    assert len(played.outcome.failed) == 1
    assert "#3 seed 1: " in played.outcome.failed[0]
    record = json.loads((tmp_path / "search.json").read_text())
    assert [trial["seeds"] for trial in record["history"]] == [3, 1, 3, 2]
    assert record["best"][0]["seeds"] == 3
    folders = json.loads((tmp_path / "sweep.json").read_text())["folders"]
    assert sorted(folders) == sorted([*map(str, range(4)), *(f"{n}_seed{s}" for n in (0, 2, 3) for s in (1, 2))])


def test_a_search_that_ended_between_seeds_goes_on(tmp_path: Path) -> None:
    accuracies = {0: [0.80, 0.82, 0.84], 1: [0.81, 0.6, 0.6]}
    whole = Seeded(tmp_path / "whole", accuracies)
    lines = (tmp_path / "whole" / "study.journal").read_text().splitlines(keepends=True)
    for count in range(3, len(lines)):
        folder = tmp_path / str(count)
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "study.journal").write_text("".join(lines[:count]))
        again = Seeded(folder, accuracies)
        told = [[(t.state, t.params, t.values, t.user_attrs) for t in s.trials.all()] for s in (whole, again)]
        assert told[0] == told[1]


def test_a_run_that_is_done_again_has_not_failed(tmp_path: Path) -> None:
    """A run with another seed fails, the driver is killed, and the next one does that run with success."""
    with driver_of(tmp_path, None) as driver:
        search = search_settings(trials=1, seeds=3)
        trials = Trials(search, space(*WORDS), driver, [], compose)
        (first,) = trials.new_trials(1, LiveView(1))

        def end(job: Job, accuracy: float | None) -> None:
            job.folder.mkdir(exist_ok=True)
            if accuracy is not None:
                student = {"best_val": {"val_accuracy": accuracy}}
                (job.folder / "result.json").write_text(json.dumps({"status": "completed", "student": student}))
            trials.tell_outcome(job, Task(job.name, job.folder, [], [], code=accuracy is None), None)

        end(first, 0.5)
        end(trials.runs_left(0)[0], None)
        trials = Trials(search, space(*WORDS), driver, [], compose)
        for run, accuracy in zip(trials.runs_left(0), (0.6, 0.7), strict=True):
            end(run, accuracy)
        outcome = trials.outcome()
    assert (outcome.failed, outcome.trials_left) == ([], 0)
    assert trials.all()[0].values == pytest.approx([0.6])


@pytest.mark.parametrize(
    ("record", "is_ours"),
    [
        ({}, True),
        ({"seeds": 3, "seed_values": [0.4, 0.5, 0.6]}, True),
        ({"seeds": 3, "seed_values": [0.4, 0.6]}, True),  # the third run has failed
        ({"seed_values": 5}, False),
        ({"seed_values": None}, False),
        ({"seed_values": []}, False),
        ({"seed_values": [math.nan]}, False),
        ({"seed_values": [0.4, 0.7]}, False),  # another mean than the trial's value
        ({"seed_values": [-0.5, 1.5]}, False),
        ({"seed_values": [0.5] * 4}, False),
        ({"seeds": -3}, False),
        ({"seeds": True}, False),
        ({"seeds": None}, False),
    ],
)
def test_seeds_that_no_search_would_record_are_refused(tmp_path: Path, record: dict[str, Any], is_ours: bool) -> None:
    found = space(*WORDS)
    values = {dimension.key: dimension.low for dimension in found.dimensions}  # type: ignore[union-attr]
    kinds = {dimension.key: distribution_of(dimension) for dimension in found.dimensions}
    record = {"own": found.overrides(values), "folder": "0", **record}
    trial = create_trial(value=0.5, params=values, distributions=kinds, user_attrs=record)
    trial.number = 0
    for seeds in (3, 1):
        if is_ours and (seeds > 1 or "seeds" not in record):
            refuse_foreign_trials([trial], search_settings(seeds=seeds), found, tmp_path)
        else:
            with pytest.raises(SettingsError, match="its trial 0 is none of this search"):
                refuse_foreign_trials([trial], search_settings(seeds=seeds), found, tmp_path)


def test_what_a_database_holds_of_a_trial_is_numbers(tmp_path: Path) -> None:
    found = space("temperature.value=interval(1,8)")
    kinds = {dimension.key: distribution_of(dimension) for dimension in found.dimensions}
    record = {"own": found.overrides({"temperature.value": 2.0}), "folder": "0"}
    trial = create_trial(value=0.5, params={"temperature.value": 2.0}, distributions=kinds, user_attrs=record)
    trial.number, trial.values = 0, [math.inf]
    with pytest.raises(SettingsError, match="its trial 0 is none of this search"):
        refuse_foreign_trials([trial], search_settings(), found, tmp_path)
