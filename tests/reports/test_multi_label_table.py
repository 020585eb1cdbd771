"""The table of labels in a run's report."""

from __future__ import annotations

from pathlib import Path

from kd_runner.files.results import Run, read_run
from kd_runner.files.run_folder import PAGE, RESULT
from kd_runner.reports.leaderboard import leaderboard_of, terminal_text
from kd_runner.reports.multi_label_table import multi_label_table
from kd_runner.reports.summary import table

ANALYSIS = {
    "classes": ["cat", "dog"],
    "test_images": [3, 0],
    "labels": {
        "teacher": {"average_precision": [0.5, None]},
        "student": {"average_precision": [0.25, None], "agreement": [0.75, 1.0]},
    },
}


def test_a_row_for_each_label() -> None:
    assert multi_label_table(ANALYSIS) == {
        "headings": ["label", "test images", "teacher", "student", "agreement with the teacher"],
        "rows": [["cat", "3", "50.00 %", "25.00 %", "75.00 %"], ["dog", "0", "–", "–", "100.00 %"]],
        "more": 0,
    }
    assert multi_label_table({"classes": ["cat"], "networks": {}}) is None
    assert multi_label_table({**ANALYSIS, "test_images": [3]}) is None  # edited


def test_reports_speak_of_map(label_run: Path) -> None:
    run = read_run(label_run / RESULT)
    assert isinstance(run, Run)
    student = run.result["student"]
    assert student["accuracy"] == student["map"]
    text = table(run.result)
    assert "mAP" in text
    assert "accuracy" not in text
    assert "of the labels of the test images" in text
    page = (label_run / PAGE).read_text()
    assert "<h2>Labels</h2>" in page
    assert "without its teacher of" in page
    assert "mAP on the validation images, %" in page
    assert "ccuracy" not in page.partition("<h2>Settings</h2>")[0].partition("<body")[2]
    board = terminal_text(leaderboard_of([label_run]), 200)
    assert "test mAP, %" in board
    assert "accuracy" not in board
