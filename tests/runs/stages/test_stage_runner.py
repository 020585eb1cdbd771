"""The stages of a run, one after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kd_runner.config.settings import Settings
from kd_runner.networks import checkpoints
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run_state import RunState
from kd_runner.runs.stages.stage_runner import StageRunner
from kd_runner.tracking.logger import RunLogger

SMALL = ("teacher=mlp", "teacher.hidden=[4]", "student=tiny_mlp")


def runner_of(settings: Settings, folder: Path) -> StageRunner:
    return StageRunner(assemble(settings), folder, "1234", RunLogger(folder), RunState())


def test_a_teacher_is_judged_and_saved_with_its_accuracy(settings: Callable[..., Settings], tmp_path: Path) -> None:
    runner = runner_of(settings(*SMALL), tmp_path)
    path = runner.prepare_teachers()
    assert path == tmp_path / "teacher.safetensors"
    judgement = runner.state.judgements["teacher"]
    _, info = checkpoints.load(path)
    assert info["val_accuracy"] == runner.state.epochs["teacher"][-1]["val_accuracy"] == judgement.accuracy


def test_teachers_from_files_are_judged_before_others_train(
    settings: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    saved = runner_of(settings(*SMALL), tmp_path).prepare_teachers()
    second = ("+teacher@teachers.second=mlp", "teachers.second.hidden=[4]", f"+teachers.second.checkpoint={saved}")
    (tmp_path / "run").mkdir()
    runner = runner_of(settings(*SMALL, *second, "teacher.epochs=2"), tmp_path / "run")
    path = runner.prepare_teachers()
    assert list(runner.state.judgements) == ["teachers.second", "teacher", "ensemble"]
    assert caplog.text.index("teachers.second taken from") < caplog.text.index("teacher   epoch 1/2")
    (members,) = checkpoints.load(path)[0].children()
    assert len(list(members.children())) == 2
