"""A run that goes on must be the run that it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import BEGUN, RESULT, SETTINGS, UNFINISHED
from kd_runner.runs.resuming import earlier_result
from kd_runner.runs.same_settings import refuse_other_settings


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
