"""A search from its start to its outcome, where what it needs is lost on the way."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from searches import WORDS, search_settings, space, trials_of  # skips where Optuna is not installed

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.errors import RunFailed
from kd_runner.files import atomic
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search import run as search_run
from kd_runner.sweeps.search.study import driver_of


def compose(number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
    return {"seed": 0}, str(number), FromEnvironment({}, {})


@pytest.mark.slow
def test_a_database_that_is_lost_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(tasks: Any, notify: Any, tick: Any, next_task: Any) -> None:
        with sqlite3.connect(tmp_path / "secret.db") as database:
            database.execute("drop table trials")
        next_task()

    engine = SimpleNamespace(is_remote=False, jobs_per_task=1, slot_count=1, description="here", run=lose)
    launcher: Any = SimpleNamespace(pack="off", timeout_s=None, engine=lambda *_: engine)
    report = {"shared_work": {}, "bytes": {}, "free_bytes": None}
    monkeypatch.setattr(search_run, "check_jobs", lambda *_: report)
    search = search_settings(storage=f"sqlite:///{tmp_path}/secret.db")
    expected = r"^hydra\.sweeper\.storage: the sqlite does not answer \(.*no such table: trials"
    with driver_of(tmp_path / "s", search.storage) as driver, pytest.raises(RunFailed, match=expected) as error:
        search_run.run_search(search, space(*WORDS), driver, launcher, [], compose)
    assert "\n" not in str(error.value)
    assert "secret.db" not in str(error.value)


def test_a_trial_that_another_driver_has_just_ended_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UpdateFinishedTrialError("Trial#0 has already finished and can not be updated.")

    with driver_of(tmp_path, "journal") as driver:
        trials = trials_of(driver, "journal", pruning="halving")
        (job,) = trials.new_trials(1, LiveView(7))
        job.folder.mkdir()
        atomic.write_json(job.folder / "now.json", {"stage": "student", "epochs": 4, "val_accuracies": [0.1]})
        monkeypatch.setattr(trials.storage, "set_trial_intermediate_value", refuse)
        assert trials.report_epochs(job) == ""
