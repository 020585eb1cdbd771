"""A second run into a folder is refused, whatever the first has come to, and changes nothing there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Job, finished

from kd_runner.errors import SettingsError
from kd_runner.runs.run import run

SHORT = ("teacher.epochs=1", "student.epochs=1", "student=tiny_mlp", "baseline=false")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    words = (*SHORT, "hydra.run.dir=runs/${seed}")  # a folder that is known once the settings are composed
    finished(tmp_path, *words)
    before = contents(tmp_path / "runs")
    job = Job(tmp_path, *words, "optimizer.lr=0.1")
    assert job.wait() == 2
    assert job.text("err") == (
        "kd-runner: hydra.run.dir: runs/0 holds a run already (completed); go on with it: resume=runs/0, or choose "
        "another folder\n"
    )
    assert contents(tmp_path / "runs") == before
    assert "completed before" in finished(tmp_path, "resume=runs/0").text("out")


def test_a_command_that_was_refused_leaves_its_folder_free(tmp_path: Path) -> None:
    job = Job(tmp_path, *SHORT, "teacher=resnet", "teacher.depth=9", "hydra.run.dir=run")
    assert job.wait() == 2
    finished(tmp_path, *SHORT, "teacher.layers=?", "hydra.run.dir=run")  # nor does a question
    finished(tmp_path, *SHORT, "hydra.run.dir=run")


def test_a_run_from_python_is_refused_too(settings: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    first = run(settings("baseline=false"), folder)
    with pytest.raises(SettingsError, match=r"^hydra\.run\.dir: \S+ holds a run already \(completed\)"):
        run(settings("baseline=false", "seed=1"), folder)
    assert json.loads((folder / "result.json").read_text()) == first
