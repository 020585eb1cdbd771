"""The page of one run."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_records import DATA
from made_runs import class_names, made_run
from page_text import text_of

from kd_runner.config.settings import Settings
from kd_runner.reports import report_arguments
from kd_runner.reports.run_page import write
from kd_runner.reports.summary import table
from kd_runner.reports.sweep_report import report
from kd_runner.runs.run import run


def test_the_page_of_a_run(settings: Callable[..., Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str],
                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    result = run(settings("student.epochs=2", "tracking.images=false"), tmp_path, ["student.epochs=2"])
    text = text_of(tmp_path / "report.html")
    student = f"{100 * result['student']['accuracy']:.2f} %"
    assert text.index("With one seed, the student is right on") < text.index("Numbers") < text.index("Confusion")
    assert (
        text.index("Over the epochs")
        < text.index("Cost")
        < text.index("Settings")
        < text.index("kd-runner student.epochs=2")
    )
    assert student in text
    validation = " ".join(
        f"{100 * result[stage]['val_accuracy']:.2f} %" for stage in ("teacher", "baseline", "student")
    )
    assert f"validation accuracy {validation}" in text
    assert "dataset._target_ kd_runner.datasets.digits.digits" in text
    (tmp_path / "report.html").unlink()
    (tmp_path / "analysis.json").unlink()
    monkeypatch.setattr(sys, "argv", ["kd-report", str(tmp_path)])
    assert report_arguments.main() == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("report.html")
    assert "Distillation gave" in out
    again = text_of(tmp_path / "report.html")
    assert "Confusion" not in again
    assert student in again
    assert not list(tmp_path.glob("leaderboard.*"))


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


def test_a_run_shows_its_data_and_each_note_once(tmp_path: Path) -> None:
    warning = "The teacher is at chance on the validation images: 33.00 %. Usual causes: another order of classes."
    notes = ["12 files are not read: 7 .heic, 5 .txt", warning]
    folder = made_run(tmp_path / "run", class_names(3), {"data": DATA, "notes": notes})
    result = json.loads((folder / "result.json").read_text())
    judged = {"val_accuracy": 0.33, "largest_class": 0.34, "recorded_accuracy": 0.95, "warning": warning}
    result["teacher"]["judged"] = judged
    (folder / "result.json").write_text(json.dumps(result))
    page = text_of(write(folder, folder))
    assert page.count(warning) == 1
    assert page.count(notes[0]) == 1
    assert page.index("Notes") < page.index(warning) < page.index(notes[0]) < page.index("Numbers") < page.index("Data")
    assert "The teacher is right on 33.00 % of the validation images (its file says 95.00 %, always" in page
    assert "largest class ant, 33.3 %" in page
    assert "It was chosen on only 18 validation images: one of them is 5.6 points." in page
    result["notes"] = notes[:1]  # the warning is shown whether or not it is among the notes
    result["teacher"]["judged"] = judged | {"recorded_accuracy": None, "largest_class": None}
    (folder / "result.json").write_text(json.dumps(result))
    page = text_of(write(folder, folder))
    assert page.count(warning) == 1
    assert "33.00 % of the validation images." in page
    result["teacher"]["judged"] = judged | {"members": {"teacher": judged, "teachers.second": judged}}
    (folder / "result.json").write_text(json.dumps(result))
    assert "The mean of the teachers is right on 33.00 % of" in text_of(write(folder, folder))


def test_an_older_run_has_no_data_and_no_notes(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(3))
    result = json.loads((folder / "result.json").read_text())
    del result["notes"]
    (folder / "result.json").write_text(json.dumps(result))
    page = write(folder, folder).read_text(encoding="utf-8")
    assert "<h2>Data</h2>" not in page
    assert "<h2>Notes</h2>" not in page


def test_a_page_says_once_that_nothing_was_distilled(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(3), {"layers": {}})
    page = text_of(write(folder, folder))
    assert "Nothing was distilled The student learned from labels alone, as the baseline did. The student has" in page
    assert page.count("learned from labels alone") == page.count("Nothing was distilled") == 1


def test_a_large_number_of_nats_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_run(tmp_path / "run", class_names(3))
    result = json.loads((folder / "result.json").read_text())
    result["student"]["nll"] = 15109469082826728.0
    result["baseline"]["nll"] = 999999.25
    result["student"]["kl_to_teacher"] = 2.5e6
    (folder / "result.json").write_text(json.dumps(result))
    seen = json.loads((folder / "analysis.json").read_text())
    seen["networks"]["student"]["before"]["nll"] = 15109469082826728.0
    (folder / "analysis.json").write_text(json.dumps(seen))
    page = text_of(write(folder, folder))
    assert "NLL 1.5e+16" in page  # below a picture
    assert "999999.2500 1.5e+16" in page
    assert "2.5e+06" in page
    assert "1.5e+16" in table(result)
    report([tmp_path], tmp_path)
    printed = capsys.readouterr().out
    assert "1.5e+16" in printed + (tmp_path / "leaderboard.md").read_text()
    assert "15109469" not in page + table(result) + printed


@pytest.mark.parametrize(("classes", "shown"), [(2, False), (5, False), (6, True), (10, True)])
def test_top5_of_few_classes_is_not_shown(classes: int, shown: bool, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(classes), {"data": {"classes": classes}})
    result = json.loads((folder / "result.json").read_text())
    assert "top5_accuracy" in result["student"]
    assert ("top-5" in table(result)) is shown
    assert ("top-5" in text_of(write(folder, folder))) is shown
    older = copy.deepcopy(result)
    del older["data"]
    (folder / "result.json").write_text(json.dumps(older))
    assert ("top-5" in text_of(write(folder, folder))) is shown  # the analysis knows the classes
