"""A run that goes on must be the run that it was."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import BEGUN, NOW, RESULT, SETTINGS, UNFINISHED
from kd_runner.runs.resume.resuming import SOURCES, earlier_result, own_sources, say_preparing
from kd_runner.runs.resume.same_settings import refuse_other_settings
from kd_runner.runs.run import run
from kd_runner.training.distiller import Distiller


def settings_with(**changes: Any) -> dict[str, Any]:
    needed = {"dataset": {}, "teacher": {}, "distillation": {}, "trainer": {}, "teachers": {}, "plus": {}}
    return {**needed, "batch_size": 64, "student": {"epochs": 3, "width": 8}, "store": "here", "seed": 0, **changes}


def test_settings_that_change_the_result_must_be_alike(tmp_path: Path) -> None:
    refuse_other_settings(tmp_path, settings_with())  # a run that was stopped before it had begun
    (tmp_path / SETTINGS).write_text(json.dumps(settings_with()))
    refuse_other_settings(tmp_path, settings_with(store="elsewhere"))
    with pytest.raises(SettingsError, match=r"has other settings: batch_size was 64, is 32; seed was 0, is 1$"):
        refuse_other_settings(tmp_path, settings_with(batch_size=32, seed=1))
    with pytest.raises(SettingsError, match=r"has other settings: seed was 0, is 1$"):
        refuse_other_settings(tmp_path, settings_with(batch_size=32, seed=1), ["seed=1"])
    with pytest.raises(SettingsError, match=r"student\.depth was not set, is 2; student\.width was 8, is not set$"):
        refuse_other_settings(tmp_path, settings_with(student={"epochs": 3, "depth": 2}))


def test_a_run_that_goes_on_says_that_it_prepares(tmp_path: Path) -> None:
    say_preparing(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / NOW).write_text('{"stage": "student", "epoch": 3, "where": "another-machine, CPU"}')
    say_preparing(tmp_path)
    state = json.loads((tmp_path / NOW).read_text())
    place = f"{platform.node()}, preparing"
    assert state == {"stage": "student", "epoch": 3, "where": place, "preparing": True}


def test_a_completed_run_stands_and_other_data_are_refused(tmp_path: Path) -> None:
    assert earlier_result(tmp_path, "a1") is None
    (tmp_path / RESULT).write_text(json.dumps({"status": "interrupted", "fingerprint": "a1"}))
    assert earlier_result(tmp_path, "a1") is None
    (tmp_path / RESULT).write_text(json.dumps({"status": "completed", "fingerprint": "a1"}))
    assert earlier_result(tmp_path, "a1") == {"status": "completed", "fingerprint": "a1"}
    with pytest.raises(SettingsError, match="its fingerprint was a1, is b2"):
        earlier_result(tmp_path, "b2")
    (tmp_path / RESULT).unlink()
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / BEGUN).write_text(json.dumps({"fingerprint": "a1", "threads": 1}))
    with pytest.raises(SettingsError, match="was started with other images or labels: its"):
        earlier_result(tmp_path, "b2")
    with pytest.raises(SettingsError, match=r"other images or labels, or other weights in teacher\.checkpoint: its"):
        earlier_result(tmp_path, "b2", ["teacher.checkpoint"])


CODE = """
class Mine:
    def __init__(self, direction, form, temperature_squared):
        pass

    def __call__(self, student, teacher, labels, temperature):
        return (student.logits - teacher.logits).square().mean()
"""
WORDS = ("teacher=mlp", "student=mlp", "baseline=false", "student.epochs=2", "trust=[own_mode_of_resuming]")


@pytest.fixture
def own(settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings of runs with a mode of a person's own, in the file own_mode_of_resuming.py."""
    (tmp_path / "own_mode_of_resuming.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_mode_of_resuming", raising=False)

    def make(*overrides: str) -> Settings:
        made = settings(*WORDS, *overrides)
        section = made.distillation.model_copy(update={"target": "own_mode_of_resuming.Mine"})
        return made.model_copy(update={"distillation": section})

    return make


def cut_off(made: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Run until an epoch of the student has begun, from 0."""
    losses = Distiller.losses

    def stopping(self: Distiller, *arguments: Any) -> Any:
        if self.epoch == epoch:
            raise KeyboardInterrupt
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Distiller, "losses", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(made, folder, WORDS)


def test_own_code_must_be_as_it_was_once_a_run_has_learned_by_it(
    own: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, code = tmp_path / "cut", tmp_path / "own_mode_of_resuming.py"
    assert own_sources(own()) == {"distillation": hashlib.sha256(CODE.encode()).hexdigest()}
    cut_off(own(), folder, monkeypatch, epoch=1)
    resumed = own(f"resume={folder}")
    code.write_text(CODE.replace("student.logits - ", "student.logits + "))
    line = (
        f"resume: {folder} was started with other code: own_mode_of_resuming.Mine (distillation, in {code}) has "
        "changed since; put it back as it was, or begin a new run in another folder"
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(line)}$"):
        run(resumed, folder, WORDS)
    assert json.loads((folder / RESULT).read_text())["status"] == "interrupted"
    code.write_text(CODE)
    assert run(resumed, folder, WORDS)["status"] == "completed"
    code.write_text("")  # what has completed stands
    assert run(resumed, folder, WORDS)["status"] == "completed"


@pytest.mark.slow
def test_own_code_may_be_mended_before_an_epoch_has_ended(
    own: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, code = tmp_path / "cut", tmp_path / "own_mode_of_resuming.py"
    cut_off(own(), folder, monkeypatch, epoch=0)
    code.write_text(CODE + "# mended\n")
    cut_off(own(f"resume={folder}"), folder, monkeypatch, epoch=1)
    begun = folder / UNFINISHED / BEGUN
    before = json.loads(begun.read_text())
    assert before[SOURCES] == {"distillation": hashlib.sha256(code.read_bytes()).hexdigest()}
    del before[SOURCES]
    begun.write_text(json.dumps(before))  # as an earlier version wrote it
    code.write_text(CODE)
    assert run(own(f"resume={folder}"), folder, WORDS)["status"] == "completed"
