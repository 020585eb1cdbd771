"""Runs whose student begins with its teacher's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import kd_runner
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.runs.run import run

WORDS = ("teacher=mlp", "teacher.hidden=[6]", "student=mlp", "student.hidden=[6]", "student.init=inject")


@pytest.mark.slow
def test_student_and_baseline_begin_alike_and_a_second_run_is_the_same_to_the_bit(
    settings: Callable[..., Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a learning rate of 0, what the student begins with is what it ends with."""
    caplog.set_level("INFO", "kd_runner")
    still = settings(*WORDS, "student.optimizer={lr: 0.0}")
    result = run(still, tmp_path / "first")
    assert "student   begins with its teacher's weights: 460 of 460 parameters (100.00 %), in 2 layers" in caplog.text
    assert result["student"]["injected"] == {"parameters": 460, "share": 1.0}
    accuracies = {stage: result[stage]["accuracy"] for stage in ("teacher", "baseline", "student")}
    assert len(set(accuracies.values())) == 1
    assert result["student"]["agreement"] == 1.0
    run(still, tmp_path / "second")
    paths = [tmp_path / name / "student_last.safetensors" for name in ("first", "second")]
    states = [kd_runner.load(path)[0].state_dict() for path in paths]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert caplog.text.count(" reused from ") == 2  # teacher and baseline
    other = run(settings(*WORDS[:-1], "student.optimizer={lr: 0.0}"), tmp_path / "random")
    assert other["baseline"]["accuracy"] != accuracies["baseline"]  # it has an entry of its own in the store


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_a_student_without_a_fitting_layer_is_refused(settings: Callable[..., Settings], tmp_path: Path) -> None:
    words = ("teacher=mlp", "teacher.hidden=[6]", "student=small_cnn", "student.init=inject")
    with pytest.raises(SettingsError, match=r"^student\.init: must be random, as no layer of the student has the name"):
        run(settings(*words), tmp_path / "run")
