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

import pytest
from test_leaderboard import right, written

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.reports import command
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
