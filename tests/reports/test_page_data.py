"""The data of the interactive page: columns that say what the leaderboard says, and texts that stay texts."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leaderboard_cases import HOSTILE, right, sweep_over_a_grid, write_run

from kd_runner.reports.leaderboard import leaderboard_of
from kd_runner.reports.page_data import NO_VALUE, encode_column, is_large, page_data
from kd_runner.reports.report_sources import Sources
from kd_runner.reports.sweep_report import report


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = sweep_over_a_grid(tmp_path / "sweep")
    (folder / "12" / "console.log").write_text("what it printed")
    (folder / "3" / "report.html").write_text("a page")
    for number in (0, 1):  # the seeds of one row, of which one stopped early
        path = folder / str(number) / "result.json"
        result = json.loads(path.read_text())
        result["student"]["val_accuracies"] = [0.1, 0.2, 0.5] if number else [0.3, 0.4]
        path.write_text(json.dumps(result))
    path = folder / "2" / "result.json"  # one seed of another row, of which the other has no curve
    path.write_text(path.read_text().replace('"best_val"', '"val_accuracies": [0.6, 0.7, 0.8], "best_val"', 1))
    return folder


def data_of(folder: Path) -> dict[str, Any]:
    sources = Sources.of([folder])
    return json.loads(page_data(leaderboard_of([folder], None, sources), folder, sources))


def texts(column: dict[str, Any]) -> list[Any]:
    return [column["values"][code] for code in column["codes"]] if "codes" in column else column["values"]


def test_columns_say_what_the_leaderboard_says(sweep: Path) -> None:
    data, leaderboard = data_of(sweep), leaderboard_of([sweep])
    columns = {column["title"]: texts(column) for column in data["columns"]}
    for column in leaderboard.columns:
        assert columns[column.heading or "#"] == [column.text(row) for row in leaderboard.rows]
    settings = {column["title"]: texts(column) for column in data["settings"]}
    assert set(settings) == {"distillation", "temperature.value"}
    for name, mode, value in zip(
        columns["settings"], settings["distillation"], settings["temperature.value"], strict=True
    ):
        assert name == f"distillation={mode} temperature.value={value}"


def test_every_run_has_its_numbers_and_links(sweep: Path) -> None:
    runs = data_of(sweep)["runs"]
    assert len(runs["row"]) == 13
    for number, row, student, gain in zip(
        runs["folder"][:12], runs["row"], runs["student"], runs["gain"], strict=False
    ):
        result = json.loads((sweep / number / "result.json").read_text())
        assert student == round(1e4 * result["student"]["accuracy"])
        assert gain == 200
        assert 0 <= row < 6
    assert (runs["folder"][-1], runs["row"][-1], runs["student"][-1]) == ("12", -1, None)
    assert texts(runs["status"])[-1] == f"failed: no good: {HOSTILE}"
    assert dict(zip(runs["folder"], texts(runs["log"]), strict=True))["12"] == "console.log"
    assert [folder for folder, page in zip(runs["folder"], texts(runs["page"]), strict=True) if page] == ["3"]
    assert runs["hrefs"] == {}


def test_curves_are_means_with_a_spread(sweep: Path) -> None:
    data = data_of(sweep)
    leaderboard = leaderboard_of([sweep])
    row = next(
        number for number, group in enumerate(leaderboard.groups) if any(run.folder.name == "0" for run in group.runs)
    )
    curves = data["curves"]
    assert curves["epochs"] == [1, 2, 3]  # as another row has them
    shape = (curves["rows"], 3)
    mean, spread = (
        np.frombuffer(base64.b64decode(curves[name]), "<u2").reshape(shape)[row] for name in ("mean", "spread")
    )
    assert mean[:2] / (NO_VALUE - 1) == pytest.approx([0.2, 0.3], abs=1e-4)
    assert spread[:2] / (NO_VALUE - 1) == pytest.approx(np.std([[0.3, 0.4], [0.1, 0.2]], axis=0, ddof=1), abs=1e-4)
    assert mean[2] == spread[2] == NO_VALUE  # of one run alone: the mean would leap where the other run ends
    assert texts(curves["runs"])[row] == 2
    assert sorted(texts(curves["runs"])) == [0, 0, 0, 0, 1, 2]


def test_values_that_repeat_are_said_once() -> None:
    assert encode_column(["a", "b", "a", "a"]) == {"values": ["a", "b"], "codes": [0, 1, 0, 0]}
    assert encode_column(["a", "b", "c"]) == {"values": ["a", "b", "c"]}


def test_no_text_leaves_the_data(tmp_path: Path) -> None:
    worst = "x=</script><script>alert(1)</script><!--\u2028"
    for seed in (0, 1):
        write_run(tmp_path / "sweep" / f"a b#{seed}:<", [worst, f"seed={seed}"], right(80))
    write_run(tmp_path / "sweep" / "other", ["y=1"], right(81))
    page = report([tmp_path / "sweep"], tmp_path / "sweep", interactive=True).read_text()
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert embedded is not None
    data = json.loads(embedded[1])
    assert worst.partition("=")[2] in {value for column in data["settings"] for value in column["values"]}
    assert "a%20b%230%3A%3C" in data["runs"]["hrefs"].values()
    assert "alert(1)" not in re.sub(re.escape(embedded[1]), "", page).replace("&lt;script&gt;alert(1)", "")
    assert page.count("<script") == 6  # five files and the data


def test_a_page_of_few_runs_has_no_libraries(sweep: Path) -> None:
    page = report([sweep], sweep)
    assert page.stat().st_size < 100_000
    assert not is_large(leaderboard_of([sweep]))
    assert "tabulator" not in page.read_text()
