"""The results of a run's networks on other images than its test images, as tables and sentences; and calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kd_runner.files.stages import BASELINE, STAGES, STUDENT, TEACHER
from kd_runner.formats import four_digits, percent, points
from kd_runner.reports.cost_table import value_at

MEAN = "mean"
LONGEST_FOLDER = 60  # letters of a folder's name, of which the end says most

Row = tuple[str, list[str]]


def calibration_rows(result: Mapping[str, Any]) -> Iterator[Row]:
    """Rows about temperature scaling, with a text for each stage; none in results of earlier versions."""
    stages = _stages(result)
    names = (
        ("NLL after temperature scaling", "nll"),
        ("ECE after temperature scaling", "ece"),
        ("temperature that fits the validation images", "temperature"),
    )
    for name, key in names:
        values = [value_at(result[stage], ("calibrated", key)) for stage in stages]
        if any(value is not None for value in values):
            yield name, [four_digits(value) for value in values]


def corruption_tables(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Headings, rows by corruption and rows by severity, for the page; None where nothing was corrupted."""
    stages = [stage for stage in _stages(result) if _corruptions(result, stage)]
    if STUDENT not in stages:
        return None
    names = list(_corruptions(result, STUDENT).get("by_corruption") or {})
    by_name = [(name.replace("_", " "), _cells(result, stages, [name], range(5))) for name in names]
    by_severity = [(f"severity {number + 1}", _cells(result, stages, names, [number])) for number in range(5)]
    headings = [*stages, *(["student less baseline, points"] if BASELINE in stages else [])]
    headings += [f"ECE {stage}" for stage in stages] + ["agreement"]
    return {
        "headings": headings,
        "by_corruption": [*by_name, (MEAN, _cells(result, stages, names, range(5)))],
        "by_severity": by_severity,
        "parameters": _corruptions(result, STUDENT).get("parameters") or "",
    }


def _cells(result: Mapping[str, Any], stages: list[str], names: list[str], severities: Any) -> list[str]:
    """The cells of a row: means over corruptions and severities."""

    def mean(stage: str, metric: str) -> float | None:
        lists = [value_at(result[stage], ("corruptions", "by_corruption", name, metric)) for name in names]
        values = [of[number] for of in lists for number in severities if of is not None and number < len(of)]
        return sum(values) / len(values) if values else None

    accuracies = {stage: mean(stage, "accuracy") for stage in stages}
    cells = [percent(accuracy) for accuracy in accuracies.values()]
    if BASELINE in accuracies:
        student, baseline = accuracies[STUDENT], accuracies[BASELINE]
        cells.append("" if student is None or baseline is None else points(student - baseline))
    return [*cells, *(four_digits(mean(stage, "ece")) for stage in stages), percent(mean(STUDENT, "agreement"))]


def further_tables(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A table for each folder of more test images: its name, the number of images, rows with a text for each stage."""
    stages = [stage for stage in _stages(result) if result[stage].get("also")]
    folders = list(dict.fromkeys(folder for stage in stages for folder in result[stage]["also"]))
    return [_further_table(result, stages, folder) for folder in folders]


def _further_table(result: Mapping[str, Any], stages: list[str], folder: str) -> dict[str, Any]:
    numbers = [result[stage]["also"].get(folder) or {} for stage in stages]
    rows = [
        (name, [text(stage.get(key)) for stage in numbers])
        for name, key, text in (
            ("accuracy", "accuracy", percent),
            ("precision", "precision", four_digits),
            ("recall", "recall", four_digits),
            ("F1", "f1", four_digits),
            ("NLL, nats", "nll", four_digits),
            ("ECE", "ece", four_digits),
            ("agreement with the teacher", "agreement", percent),
        )
        if any(stage.get(key) is not None for stage in numbers)
    ]
    images = next((stage["images"] for stage in numbers if stage.get("images")), None)
    return {"folder": _short(folder), "images": images, "headings": stages, "rows": rows}


def shift_sentences(result: Mapping[str, Any]) -> list[str]:
    """A sentence about the corruptions, and one about each folder of more test images."""
    sentences = []
    student = _corruptions(result, STUDENT)
    if student:
        clauses = [
            f"the {stage} on {percent(_corruptions(result, stage)['accuracy'])}"
            for stage in (BASELINE, TEACHER)
            if _corruptions(result, stage)
        ]
        beside = student.get("error_beside_baseline")
        error = "" if beside is None else f"; its mean corruption error is {beside:.3f} of the baseline's"
        sentences.append(
            f"Under 15 corruptions of the test images at 5 severities, the student is right on "
            f"{', '.join([percent(student['accuracy']), *clauses])}{error}."
        )
    for table in further_tables(result):
        accuracies = dict(zip(table["headings"], dict(table["rows"])["accuracy"], strict=True))
        clauses = [f"the {stage} on {accuracies[stage]}" for stage in (BASELINE, TEACHER) if stage in accuracies]
        images = f"{table['images']:,} " if table["images"] else ""
        listed = ", ".join([accuracies.get(STUDENT, ""), *clauses])
        sentences.append(f"On the {images}images in {table['folder']}, the student is right on {listed}.")
    return sentences


def _corruptions(result: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    return value_at(result.get(stage), ("corruptions",)) or {}


def _stages(result: Mapping[str, Any]) -> list[str]:
    return [stage for stage in STAGES if result.get(stage)]


def _short(folder: str) -> str:
    return folder if len(folder) <= LONGEST_FOLDER else f"…{folder[-LONGEST_FOLDER + 1 :]}"
