"""The answers of `kd-predict` where a picture may have several labels: as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.formats import percent
from kd_runner.plain_text import csv_cell
from kd_runner.terminal import TextColumn, table_lines

BETWEEN = "|"  # names of labels in one cell, as in a table of images


@dataclass(frozen=True)
class MultiLabelAnswer:
    """The answer for one file.

    Args:
        image: Its path, as it is shown.
        labels: The labels whose probability is above 0.5, each with it, the most probable first.
        probabilities: The probability of each label, in the order of the network's outputs.
        error: Why it cannot be read; None where it was.
    """

    image: str
    labels: Sequence[tuple[str, float]] = ()
    probabilities: Sequence[float] = ()
    error: str | None = None


def labels_as_table(answers: Sequence[MultiLabelAnswer], classes: Sequence[str], width: int) -> str:
    """The answers as a table of that many columns; what cannot be read is not in it."""
    read = [answer for answer in answers if answer.error is None]
    if not read:
        return ""
    labels = [", ".join(f"{name} {percent(value)}" for name, value in answer.labels) or "none" for answer in read]
    nearest = [_nearest(answer, classes) for answer in read]
    columns = [
        TextColumn("picture", [answer.image for answer in read], folds=True),
        TextColumn("labels", labels, folds=True),
        TextColumn("next", nearest, keep=1, folds=True),
    ]
    return "\n".join(["", *table_lines(columns, width)[0], "", ""])


def _nearest(answer: MultiLabelAnswer, classes: Sequence[str]) -> str:
    """The most probable label of those at 0.5 or below."""
    below = [(value, name) for name, value in zip(classes, answer.probabilities, strict=True) if value <= 0.5]
    return "" if not below else f"{max(below)[1]} {percent(max(below)[0])}"


def labels_as_json(answers: Sequence[MultiLabelAnswer], classes: Sequence[str], model: str) -> str:
    """The answers as one JSON document."""
    images: list[dict[str, Any]] = [
        {
            "image": answer.image,
            "labels": [{"label": name, "probability": value} for name, value in answer.labels],
            "probabilities": list(answer.probabilities),
        }
        for answer in answers
        if answer.error is None
    ]
    unreadable = [{"image": answer.image, "reason": answer.error} for answer in answers if answer.error is not None]
    content = {"model": model, "classes": list(classes), "images": images, "unreadable": unreadable}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def labels_as_csv(answers: Sequence[MultiLabelAnswer], classes: Sequence[str]) -> str:
    """The answers as CSV: the labels above 0.5 in one cell, then the probability of each label, then the error."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["image", "labels", *(csv_cell(f"probability of {name}") for name in classes), "error"])
    for answer in answers:
        values = [f"{value:.6g}" for value in answer.probabilities] or [""] * len(classes)
        names = BETWEEN.join(name for name, _ in answer.labels)
        writer.writerow([csv_cell(answer.image), csv_cell(names), *values, csv_cell(answer.error or "")])
    return file.getvalue()
