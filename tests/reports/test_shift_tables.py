"""Corruptions, further test images and calibration in words and tables."""

from __future__ import annotations

from typing import Any

from kd_runner.reports.shift_tables import calibration_rows, corruption_tables, further_tables, shift_sentences


def stage(accuracy: float, **more: Any) -> dict[str, Any]:
    lists = {"accuracy": [accuracy, 0.5, 0.5, 0.5, 0.5], "ece": [0.1] * 5, "agreement": [0.9] * 5}
    corruptions = {
        "parameters": "CIFAR-10-C",
        "accuracy": accuracy,
        "error_beside_baseline": 0.8,
        "by_corruption": {"fog": lists, "gaussian_noise": lists},
    }
    return {
        "accuracy": accuracy,
        "corruptions": corruptions,
        "also": {"more": {"images": 1200, "accuracy": accuracy, "ece": 0.1}},
        "calibrated": {"temperature": 1.5, "nll": 0.25, "ece": 0.03},
        **more,
    }


RESULT = {"teacher": stage(0.9), "baseline": stage(0.7), "student": stage(0.8), "seconds": {}}


def test_rows_are_means_over_severities_and_over_corruptions() -> None:
    tables = corruption_tables(RESULT)
    assert tables is not None
    assert tables["headings"][:4] == ["teacher", "baseline", "student", "student less baseline, points"]
    assert tables["headings"][4:] == ["ECE teacher", "ECE baseline", "ECE student", "agreement"]
    rows = dict(tables["by_corruption"])
    assert list(rows) == ["fog", "gaussian noise", "mean"]
    assert rows["fog"][:4] == ["58.00 %", "54.00 %", "56.00 %", "+2.00"]
    assert rows["mean"] == rows["fog"]
    assert dict(tables["by_severity"])["severity 1"][:4] == ["90.00 %", "70.00 %", "80.00 %", "+10.00"]
    assert corruption_tables({"student": {"accuracy": 0.5}}) is None


def test_sentences_say_how_right_each_network_is() -> None:
    first, second = shift_sentences(RESULT)
    assert first == (
        "Under 15 corruptions of the test images at 5 severities, the student is right on 80.00 %, the baseline on "
        "70.00 %, the teacher on 90.00 %; its mean corruption error is 0.800 of the baseline's."
    )
    assert second == (
        "On the 1,200 images in more, the student is right on 80.00 %, the baseline on 70.00 %, the teacher on 90.00 %."
    )
    assert shift_sentences({"student": {"accuracy": 0.5}}) == []


def test_folders_and_calibration_are_tables_of_the_stages() -> None:
    (table,) = further_tables(RESULT)
    assert (table["folder"], table["images"], table["headings"]) == ("more", 1200, ["teacher", "baseline", "student"])
    assert dict(table["rows"])["accuracy"] == ["90.00 %", "70.00 %", "80.00 %"]
    rows = dict(calibration_rows(RESULT))
    assert rows["temperature that fits the validation images"] == ["1.5000"] * 3
    assert rows["ECE after temperature scaling"] == ["0.0300"] * 3
    assert not list(calibration_rows({"student": {"accuracy": 0.5}}))
