"""The commands that a report shows."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from leaderboard_cases import sweep_over_a_grid
from page_text import text_of

from kd_runner.reports.provenance import sweep_command
from kd_runner.reports.sweep_report import report


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_over_a_grid(tmp_path / "sweep")


def test_the_command_is_the_one_that_was_typed(sweep: Path) -> None:
    typed = sweep_command(sweep / "multirun.yaml")
    assert typed is not None
    assert shlex.split(typed) == [
        "kd-runner", "-m", "--config-dir=/own conf", "distillation=soft,dkd", "temperature.value=1,2,10", "seed=0,1",
        "dataset.root=/a b",
    ]  # fmt: skip
    (sweep / "multirun.yaml").write_text("hydra: [")
    assert sweep_command(sweep / "multirun.yaml") is None
    report([sweep], sweep)
    text = text_of(sweep / "report.html")
    assert "kd-runner distillation=soft temperature.value=1 seed=0 optimizer.lr=0.1" in text
    assert "And 2 more runs" in text
