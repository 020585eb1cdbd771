"""The stages' part of a result, and what is shown of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kd_runner.config.settings import Settings
from kd_runner.errors import RunFailed
from kd_runner.runs.assembly import assemble
from kd_runner.runs.results import stage_results
from kd_runner.runs.run_state import RunState
from kd_runner.runs.stages.stage_runner import StageRunner
from kd_runner.tracking.logger import RunLogger

SMALL = ("teacher=mlp", "teacher.hidden=[4]", "student=tiny_mlp", "baseline=false")


def test_a_picture_that_fails_costs_no_result_and_a_full_disk_ends_the_run(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_error(error: Exception) -> None:
        raise error

    runner = StageRunner(assemble(settings(*SMALL)), tmp_path, "1234", RunLogger(tmp_path), RunState())
    monkeypatch.setattr(stage_results, "show_in_tensorboard", lambda *_: raise_error(ValueError("no picture")))
    stages = runner.run(())
    assert stages["student"]["accuracy"] > 0
    assert stages["baseline"] is None
    assert "could not be shown: no picture" in caplog.text
    monkeypatch.setattr(stage_results, "show_in_tensorboard", lambda *_: raise_error(RunFailed("the disk is full")))
    with pytest.raises(RunFailed, match="the disk is full"):
        runner.run(())
