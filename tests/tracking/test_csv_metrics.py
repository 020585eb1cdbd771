"""metrics.csv: a row for each epoch of each stage."""

from __future__ import annotations

from pathlib import Path

from kd_runner.tracking.csv_metrics import CsvMetrics


def test_a_row_has_what_was_logged_in_an_epoch_and_columns_come_as_they_are_first_named(tmp_path: Path) -> None:
    table = CsvMetrics(tmp_path)
    table.add("teacher", 1, {"train_loss": 0.5})
    table.add("student", 1, {"val_accuracy": 1})
    table.add("teacher", 1, {"val_accuracy": 0.25})
    assert (tmp_path / "metrics.csv").read_text() == (
        "stage,epoch,train_loss,val_accuracy\nteacher,1,0.5,0.25\nstudent,1,,1.0\n"
    )


def test_a_run_that_goes_on_keeps_its_rows_and_trains_later_epochs_again(tmp_path: Path) -> None:
    first = CsvMetrics(tmp_path)
    for epoch in (1, 2, 3):
        first.add("student", epoch, {"val_loss": epoch / 10})
    first.add("teacher", 3, {"val_loss": 9.0})
    second = CsvMetrics(tmp_path)
    second.remove_after("student", 1)
    second.add("student", 2, {"val_loss": 0.7})
    assert (
        tmp_path / "metrics.csv"
    ).read_text() == "stage,epoch,val_loss\nstudent,1,0.1\nteacher,3,9.0\nstudent,2,0.7\n"
