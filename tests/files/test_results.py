"""Runs read back from their folders."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from kd_runner.errors import SettingsError
from kd_runner.files.results import MissingRun, Run, find_runs, read_run, top5_says_nothing


def write_result(folder: Path, *overrides: str, accuracy: float = 0.5, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    result = {"status": "completed", "overrides": list(overrides), "seed": 0, "data_seed": 0}
    (folder / "result.json").write_text(json.dumps({**result, "student": {"accuracy": accuracy}, **changes}))
    return folder


def test_a_run_has_the_overrides_that_can_change_its_result(tmp_path: Path) -> None:
    folder = write_result(tmp_path, "seed=3", "store=x", "student.epochs=2", "distillation=dkd", "hydra.verbose=true")
    run = read_run(folder / "result.json")
    assert isinstance(run, Run)
    assert run.words == ("distillation=dkd", "student.epochs=2")
    assert run.seeds == ("0", "0")
    assert run.correct is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "failed", "error": "no memory"}, "failed: no memory"),
        ({"status": "interrupted"}, "interrupted"),
        ({"status": None}, "result.json has no status: it is not one of kd-runner's"),
        ({"student": None}, "result.json says completed, and has no accuracy of its student"),
        ({"status": "done"}, 'result.json has the status "done", which is none of '),
    ],
)
def test_a_run_without_a_result_has_a_reason(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    run = read_run(write_result(tmp_path, **changes) / "result.json")
    assert isinstance(run, MissingRun)
    assert run.reason.startswith(reason)


def test_jobs_of_a_sweep_without_a_result_are_missing_with_their_reasons(tmp_path: Path) -> None:
    write_result(tmp_path / "0", "a=1")
    for job, name in (("1", "settings.json"), ("2", "now.json"), ("3", "now.json")):
        (tmp_path / job).mkdir()
        (tmp_path / job / name).write_text(json.dumps({"stage": "student", "epoch": 1, "epochs": 9}))
    os.utime(tmp_path / "3" / "now.json", (time.time() - 3600,) * 2)
    sweep = {"folders": ["0", "1", "2", "3", "4"], "jobs": ["a=1", "a=2", "a=3", "a=4", "a=5"]}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    write_result(tmp_path / ".earlier" / "0", "a=9")
    runs, missing = find_runs([tmp_path])
    assert [run.words for run in runs] == [("a=1",)]
    assert {run.words: run.reason for run in missing} == {
        "a=2": "began, and left no result",
        "a=3": "running: student epoch 1 of 9",
        "a=4": "silent since student epoch 1 of 9",
        "a=5": "not started",
    }


def test_of_one_run_done_twice_the_later_one_counts(tmp_path: Path) -> None:
    for name, accuracy, moment in (("new", 0.7, 2000), ("old", 0.6, 1000)):
        os.utime(write_result(tmp_path / name, "a=1", accuracy=accuracy) / "result.json", (moment, moment))
    runs, _ = find_runs([tmp_path, tmp_path / "old"])
    assert [run.folder.name for run in runs] == ["new"]
    with pytest.raises(SettingsError, match="no folder"):
        find_runs([tmp_path / "nowhere"])


def test_top_5_tells_nothing_of_five_classes() -> None:
    assert top5_says_nothing({}, classes=5)
    assert not top5_says_nothing({"data": {"classes": 6}})
    assert not top5_says_nothing({"teacher": {"top5_accuracy": 0.99}})
    assert top5_says_nothing({"teacher": {"top5_accuracy": 1}})
