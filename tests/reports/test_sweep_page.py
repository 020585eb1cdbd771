"""The page of sweeps and runs together."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from leaderboard_cases import sweep_over_a_grid
from page_text import text_of

from kd_runner.reports.sweep_report import report


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_over_a_grid(tmp_path / "sweep")


def test_the_page_of_a_sweep(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([sweep], sweep)
    page, text = (sweep / "report.html").read_text(), text_of(sweep / "report.html")
    assert text.index("12 runs in 6 rows, 1 without a result") < text.index("Leaderboard") < text.index("Every run")
    assert text.index("Every run") < text.index("Cost") < text.index("Settings") < text.index("How to reproduce")
    assert "With one seed" not in text
    assert "Over 2 seeds" in text
    tables = {
        name: table.count("<tr") - 1 for name, table in re.findall(r'<table[^>]*id="(\w+)">(.*?)</table>', page, re.S)
    }
    assert tables == {"leaderboard": 6, "runs": 12, "missing": 1}
    assert "temperature.value 1, 2, 10" in text
    assert "That all runs share (1) optimizer.lr 0.1" in text
    assert "python 3.12.1" in text
    assert "Over" in capsys.readouterr().out  # the verdict is printed as well


def test_a_sweep_without_any_result_has_a_page(sweep: Path) -> None:
    report([sweep / "12"], sweep / "12")
    assert "No result yet" in text_of(sweep / "12" / "report.html")


def test_a_column_of_the_cost_that_no_row_has_is_left_out(sweep: Path) -> None:
    """Its cells would all be dashes."""
    report([sweep], sweep)
    page = (sweep / "report.html").read_text()
    assert "compute, × baseline's" not in text_of(page)
    assert "Compute: multiply-accumulates" not in text_of(page)
    cost = re.search(r"<h2>Cost</h2>.*?<table.*?</table>", page, re.S)
    assert cost is not None
    headings, cells = cost[0].count("<th scope"), [row.count("<td") for row in cost[0].split("<tr>")[2:]]
    assert cells
    assert set(cells) == {headings}


def test_the_cost_says_what_the_baseline_would_have_had(sweep: Path) -> None:
    for path in sweep.glob("[0-9]*/result.json"):
        result = json.loads(path.read_text())
        if result["student"] is not None:
            result["baseline"]["images_seen"] = 2500
            (path).write_text(json.dumps(result | {"budget": {"times_baseline": 3.21, "student": None}}))
    report([sweep], sweep)
    page = text_of(sweep / "report.html")
    assert "compute, × baseline's" in page
    assert "Compute: multiply-accumulates" in page
    assert "5,000, 2.0 × baseline's 3.2" in page
    line = next(csv.DictReader((sweep / "leaderboard.csv").read_text().splitlines()))
    assert float(line["times_baseline"]) == pytest.approx(3.21)
