"""Reports as pages: what stands in them, and that nothing in them is taken for HTML."""

from __future__ import annotations

import html
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_leaderboard import right, written

from kd_runner.comparison.grouping import compared_groups
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files.results import find_runs
from kd_runner.formats import clock
from kd_runner.reports import charts, command, run_charts
from kd_runner.reports.provenance import sweep_command
from kd_runner.reports.run_page import write
from kd_runner.reports.sweep_report import report
from kd_runner.runs.run import run

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Modes, temperatures and seeds, students of three sizes, a failure, and what Hydra keeps of the command."""
    folder = tmp_path / "sweep"
    grid = [(mode, value, seed) for mode in ("soft", "dkd") for value in (1, 2, 10) for seed in (0, 1)]
    for number, (mode, value, seed) in enumerate(grid):
        place = written(
            folder / str(number),
            [f"distillation={mode}", f"temperature.value={value}", f"seed={seed}", "optimizer.lr=0.1"],
            right(80 + value + seed - (mode == "dkd")),
            seed=seed,
            environment={"python": "3.12.1", "device": "cpu"},
        )
        content = {"temperature": {"value": value}, "optimizer": {"lr": 0.1}, "seed": seed}
        (place / "settings.json").write_text(json.dumps(content))
        result = json.loads((place / "result.json").read_text())
        result["student"]["parameters"] = 1000 * (1 + number % 3)
        (place / "result.json").write_text(json.dumps(result))
    written(folder / "12", [f"distillation={HOSTILE}"], status="failed", error=f"no good: {HOSTILE}", student=None)
    words = ["distillation=soft,dkd", "temperature.value=1,2,10", "seed=0,1", "dataset.root=/a b", "resume=x"]
    sources = [{"path": "/own conf", "provider": "command-line"}, {"path": "/conf", "provider": "main"}]
    record = {
        "hydra": {
            "overrides": {"task": words, "hydra": ["hydra.mode=MULTIRUN"]},
            "runtime": {"config_sources": sources},
        }
    }
    (folder / "multirun.yaml").write_text(json.dumps(record))
    return folder


def page_in(folder: Path) -> str:
    return (folder / "report.html").read_text()


def text_of(page: str) -> str:
    body = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


def test_the_page_of_a_sweep(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([sweep], sweep)
    page, text = page_in(sweep), text_of(page_in(sweep))
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
    assert "Over" in capsys.readouterr().out  # the answer is printed as well


def test_the_command_is_the_one_that_was_typed(sweep: Path) -> None:
    said = sweep_command(sweep / "multirun.yaml")
    assert said is not None
    assert shlex.split(said) == [
        "kd-runner", "-m", "--config-dir=/own conf", "distillation=soft,dkd", "temperature.value=1,2,10", "seed=0,1",
        "dataset.root=/a b",
    ]  # fmt: skip
    (sweep / "multirun.yaml").write_text("hydra: [")
    assert sweep_command(sweep / "multirun.yaml") is None
    report([sweep], sweep)
    text = text_of(page_in(sweep))
    assert "kd-runner distillation=soft temperature.value=1 seed=0 optimizer.lr=0.1" in text
    assert "And 2 more runs" in text


@pytest.mark.parametrize("where", ["override", "error", "class"])
def test_nothing_is_taken_for_html(sweep: Path, where: str, settings: Callable[..., Settings], tmp_path: Path) -> None:
    if where == "class":
        folder = tmp_path / "run"
        folder.mkdir()
        run(
            settings("teacher=mlp", "teacher.hidden=[8]", "baseline=false", "tracking.images=false"),
            folder,
            [f"x={HOSTILE}"],
        )
        analysis = json.loads((folder / "analysis.json").read_text())
        analysis["classes"] = [f"{HOSTILE} {number}" for number in range(10)]
        (folder / "analysis.json").write_text(json.dumps(analysis))
        page = page_in(write(folder, folder).parent)
        assert page.count("&lt;script&gt;") > 50
    else:
        page = page_in(report([sweep], sweep).parent)
        assert page.count("&lt;script&gt;") == 2
    assert len(re.findall("<script", page)) == (1 if where == "class" else 2)  # for print, and that of the tables


def test_the_page_of_a_run(settings: Callable[..., Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str],
                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    result = run(settings("student.epochs=2", "tracking.images=false"), tmp_path, ["student.epochs=2"])
    text = text_of(page_in(tmp_path))
    student = f"{100 * result['student']['accuracy']:.2f} %"
    assert text.index("With one seed, the student is right on") < text.index("Numbers") < text.index("Confusion")
    assert (
        text.index("Over the epochs")
        < text.index("Cost")
        < text.index("Settings")
        < text.index("kd-runner student.epochs=2")
    )
    assert student in text
    assert "dataset._target_ kd_runner.datasets.digits.digits" in text
    (tmp_path / "report.html").unlink()
    (tmp_path / "analysis.json").unlink()
    monkeypatch.setattr(sys, "argv", ["kd-report", str(tmp_path)])
    assert command.main() == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("report.html")
    assert "Distillation gave" in out
    again = text_of(page_in(tmp_path))
    assert "Confusion" not in again
    assert student in again
    assert not list(tmp_path.glob("leaderboard.*"))


def test_what_kd_report_refuses(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no result to report: failed: no good"):
        command.write_page([sweep / "12"], sweep / "12", None)
    with pytest.raises(SettingsError, match=r"--out: must be given, as .* has a report of its own run"):
        command.write_page([sweep / "1", sweep / "2"], None, None)
    with pytest.raises(SettingsError, match="--reference: has no effect on one run, got soft"):
        command.write_page([sweep / "1"], sweep / "1", "soft")
    assert command.write_page([sweep / "1", sweep / "2"], tmp_path / "out", None).is_file()
    (sweep / "1" / "result.json").write_text('{"accuracy": 0.9}')  # another program's, say
    with pytest.raises(SettingsError, match=r"result\.json has no status: it is not one of kd-runner's"):
        command.write_page([sweep / "1"], sweep / "1", None)


def test_a_report_that_fails_costs_no_result(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr("kd_runner.reports.run_page.write", broken)
    assert (
        run(settings("teacher=mlp", "teacher.hidden=[8]", "baseline=false", "tracking.images=false"), tmp_path)[
            "status"
        ]
        == "completed"
    )
    assert "the report could not be written: " in caplog.text
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "completed"


def test_a_sweep_without_any_result_has_a_page(sweep: Path) -> None:
    report([sweep / "12"], sweep / "12")
    assert "No result yet" in text_of(page_in(sweep / "12"))


def test_pictures_of_sizes_and_of_two_settings(sweep: Path) -> None:
    groups = compared_groups(find_runs([sweep])[0])
    drawn = charts.heat_map(groups)
    assert drawn is not None
    assert (drawn["down"], drawn["columns"]) == ("temperature.value", ["dkd", "soft"])
    assert [row for row, _ in drawn["rows"]] == ["1", "2", "10"]  # numbers in their order, not in that of their letters
    assert drawn["rows"][2][1] == [("89.50", 0.9), ("90.50", 1.0)]
    front = charts.pareto(groups)
    assert front is not None
    sizes = [point["size"] for point in front["front"]]
    accuracies = [point["accuracy"] for point in front["front"]]
    assert sizes == sorted(sizes)
    assert accuracies == sorted(accuracies)
    for point in front["points"]:
        beaten = any(
            other["size"] <= point["size"] and other["accuracy"] > point["accuracy"] for other in front["points"]
        )
        assert point["front"] is not beaten
    assert charts.pareto(groups[:1]) is None
    assert charts.heat_map(groups[:1]) is None
    strips = charts.strips(groups)
    assert strips is not None
    assert len(strips["rows"]) == 6
    assert charts.strips([]) is None


@pytest.mark.parametrize(("low", "high"), [(0.0, 100.0), (97.1, 97.9), (81.0, 95.0), (3.0, 3.0)])
def test_an_axis_has_a_few_round_values_in_its_range(low: float, high: float) -> None:
    axis = charts.Axis.around([low, high])
    assert 3 <= len(axis.ticks) <= 12
    assert all(0 <= place <= 100 for place, _ in axis.ticks)
    assert all(axis.at(float(text)) == pytest.approx(place, abs=0.01) for place, text in axis.ticks)
    assert 0 < axis.at(low) <= axis.at(high) < 100


def test_a_logarithmic_axis() -> None:
    axis = charts.Axis.around([1_000, 2_000_000], logarithmic=True)
    assert [text for _, text in axis.ticks] == ["1k", "10k", "100k", "1M"]
    assert axis.at(31_623) - axis.at(3_162) == pytest.approx(axis.at(316_228) - axis.at(31_623), abs=0.02)


def test_many_classes_are_a_picture_of_a_pixel_each() -> None:
    counts = np.eye(20, dtype=int) * 9 + np.roll(np.eye(20, dtype=int), 1, 1)
    network = {"confusion": counts.tolist()}
    analysis = {
        "classes": [f"class {number}" for number in range(40)],
        "confusion_classes": list(range(20)),
        "test_images": [10] * 40,
        "networks": {"teacher": network, "student": network},
    }
    drawn = run_charts.confusion(analysis)
    assert all("image" in panel for panel in drawn["panels"])
    assert (len(drawn["names"]), drawn["of"], drawn["numbered"]) == (20, 40, False)


def test_time_in_words() -> None:
    assert [clock(each) for each in (None, 0.5, 59.94, 200, 18_420)] == [
        "–",
        "0.5 s",
        "59.9 s",
        "3 min 20 s",
        "5 h 07 min",
    ]
