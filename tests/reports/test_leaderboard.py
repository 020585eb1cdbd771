"""The leaderboard's rows, and their texts."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
from leaderboard_cases import right, sweep_of_two_modes, write_run

from kd_runner.comparison.grouping import compared_groups
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import rows
from kd_runner.reports.sweep_report import report
from kd_runner.reports.verdict import verdict_of


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of_two_modes(tmp_path / "sweep")


def test_groups_over_seeds(sweep: Path) -> None:
    runs, _ = find_runs([sweep])
    soft, hard = rows(compared_groups(runs))
    assert [soft["settings"], hard["settings"]] == ["distillation=soft", "distillation=hard"]
    assert [soft["rank"], hard["rank"]] == [1, 2]
    assert soft["n"] == hard["n"] == 3
    assert soft["test_accuracy"] == pytest.approx(0.82)
    assert soft["sd"] == pytest.approx(0.02)
    assert soft["ci95"] == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)
    assert soft["gain"] == pytest.approx(0.02)
    assert soft["gain_sd"] == pytest.approx(0, abs=1e-12)
    assert soft["seconds"] == 12
    assert soft["images_seen"] == 5000


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((80, 84, 82), "77.03 to 86.97"),  # 82 ± 4.303 · 2 / √3
        ((98, 100), "86.29 to 100.00"),  # 99 ± 12.71 · √2 / √2
        ((0, 2), "0.00 to 13.71"),
        ((46, 54), "too few to tell"),  # 50 ± 50.8
        ((0, 100), "too few to tell"),  # 50 ± 635.31
    ],
)
def test_an_interval_of_an_accuracy_is_within_0_and_100(
    counts: tuple[int, ...], shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, count in enumerate(counts):
        baseline = {"accuracy": 0.5, "parameters": 1000}
        write_run(tmp_path / str(seed), [f"seed={seed}"], right(count), baseline=baseline)
    report([tmp_path], tmp_path)
    for text in (
        capsys.readouterr().out,
        *((tmp_path / f"{name}").read_text() for name in ("leaderboard.md", "report.html")),
    ):
        assert shown in text
        assert not re.search(r"[1-9]\d\d\.\d\d (%|to|\()|[-+][1-9]\d\d\.", text.replace("100.00", ""))
    certainty = verdict_of(compared_groups(find_runs([tmp_path])[0])).sentences[0]
    assert ("95 % interval wider than 100 points, so too few seeds to tell" in certainty) is ("too few" in shown)
    (row,) = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    assert float(row["test_accuracy"]) == pytest.approx(np.mean(counts) / 100)
    assert "accuracy" not in row
