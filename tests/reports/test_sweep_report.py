"""The files of a sweep's report."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from leaderboard_cases import sweep_of_two_modes

from kd_runner.reports import leaderboard
from kd_runner.reports.sweep_report import report


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of_two_modes(tmp_path / "sweep")


def test_the_files(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([sweep], sweep, reference="distillation=hard")
    printed = capsys.readouterr().out
    assert re.search(r"1 +distillation=soft +3 +82\.00 +82\.00 ± 2\.00 +\+2\.00 ± 0\.00", printed)
    assert (
        "No room for images seen; seconds; NLL; agreement; gap closed; 95 %; parameters: see leaderboard.csv."
        in printed
    )
    assert "failed: the loss is not finite" in printed
    with (sweep / "leaderboard.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == leaderboard.COLUMNS
    assert float(lines[0]["test_accuracy"]) == pytest.approx(0.82)
    assert lines[0]["reference"] == "distillation=hard"
    markdown = (sweep / "leaderboard.md").read_text()
    assert "| 1 | distillation=soft | 3 | 82.00 | 82.00 ± 2.00 |" in markdown
