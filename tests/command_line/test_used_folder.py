"""A second run into a folder is refused, whatever the first has come to, and changes nothing there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs import Job, finished

from kd_runner.command_line.used_folder import refuse_used_folder
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("result.json", '{"status": "failed"}', r"holds a run already \(failed\); go on with it: resume="),
        ("result.json", '{"status": "interrupted"}', r"holds a run already \(interrupted\)"),
        ("settings.json", "{}", r"holds a run already \(not finished\)"),
        ("unfinished/begun.json", "{}", r"holds a run already \(not finished\)"),
        (".hydra/overrides.yaml", "", r"holds a run already \(not finished\)"),
        ("multirun.yaml", "", r"holds a sweep; go on with it: resume="),
        ("thesis.tex", "", r"must be new or empty, it holds thesis\.tex"),
    ],
)
def test_whatever_is_in_the_folder(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError, match=rf"^hydra\.run\.dir: \S+ {message}"):
        refuse_used_folder(tmp_path)


@pytest.mark.parametrize("names", [[], ["console.log"], ["kd-runner.log"], [".DS_Store"]])
def test_logs_and_hidden_files_are_in_nobodys_way(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    refuse_used_folder(tmp_path)
    refuse_used_folder(tmp_path / "nowhere")


def test_a_run_from_python_is_refused_too(settings: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    first = run(settings("baseline=false"), folder)
    with pytest.raises(SettingsError, match=r"^hydra\.run\.dir: \S+ holds a run already \(completed\)"):
        run(settings("baseline=false", "seed=1"), folder)
    assert json.loads((folder / "result.json").read_text()) == first
