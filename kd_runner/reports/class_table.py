"""The table of classes in the report of a run: how many test images each has, and how right the networks are on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_runner.evaluation.analysis import class_names
from kd_runner.files.stages import STAGES, STUDENT
from kd_runner.formats import count, four_digits

MOST_ROWS = 100  # of more classes, those with the lowest F1 of the student
NOTE = (
    "On the test images: of the images that are predicted to be of a class, the share that are (precision); of the "
    "images of the class, the share that are predicted so (recall); and the harmonic mean of the two (F1). A dash: no "
    "image is predicted to be of the class, or none is of it."
)


def class_table(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """The test images of each class, the student's precision, recall and F1, and the F1 of the others.

    The result has `headings`, `rows` of a class's name and its texts, and `note`; None where the numbers are missing,
    as in runs of earlier versions.
    """
    networks, images = analysis.get("networks") or {}, analysis.get("test_images")
    if not analysis.get("classes") or not images or (networks.get(STUDENT) or {}).get("class_f1") is None:
        return None
    student = networks[STUDENT]
    other_stages = [
        stage for stage in STAGES if stage != STUDENT and (networks.get(stage) or {}).get("class_f1") is not None
    ]
    columns = [student.get("class_precision"), student.get("class_accuracy"), student["class_f1"]]
    columns += [networks[stage]["class_f1"] for stage in other_stages]
    names = [name["middle"] for name in class_names(analysis)]
    if any(column is None or len(column) != len(names) for column in (*columns, images)):
        return None  # of a file that was edited
    known = [label for label in range(len(names)) if student["class_f1"][label] is not None]
    worst = sorted(known, key=lambda label: (student["class_f1"][label], label))[:MOST_ROWS]
    shown = range(len(names)) if len(names) <= MOST_ROWS else sorted(worst)
    rows = [
        (names[label], [count(images[label]), *(four_digits(column[label]) for column in columns)]) for label in shown
    ]
    more = f" Shown are the {len(rows):,} of {len(names):,} classes in which the student's F1 is lowest."
    return {
        "headings": [
            "test images",
            "student's precision",
            "recall",
            "F1",
            *(f"{stage}'s F1" for stage in other_stages),
        ],
        "rows": rows,
        "note": NOTE + (more if len(names) > MOST_ROWS else ""),
    }
