"""The table of labels in the report of a run whose images may have several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_runner.files.stages import STAGES, STUDENT
from kd_runner.formats import count, percent

MOST_ROWS = 200  # of more labels, those that the most test images have


def multi_label_table(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """The average precision of each label by network, with the student's agreement; None where there is nothing of it.

    The result has `headings`, `rows` of texts, and `more`, the number of labels without a row.
    """
    labels, names = analysis.get("labels"), analysis.get("classes")
    images = analysis.get("test_images")
    if not labels or not names or not images:
        return None
    stages = [stage for stage in STAGES if stage in labels]
    columns = {stage: labels[stage]["average_precision"] for stage in stages}
    agreement = (labels.get(STUDENT) or {}).get("agreement")
    lengths = {len(names), len(images), *map(len, columns.values()), *([len(agreement)] if agreement else [])}
    if len(lengths) > 1:  # of a file that was edited
        return None
    order = sorted(range(len(names)), key=lambda number: -images[number])
    shown = sorted(order[:MOST_ROWS])
    rows = [
        [names[n], count(images[n]), *(percent(columns[stage][n]) for stage in stages)]
        + ([percent(agreement[n])] if agreement else [])
        for n in shown
    ]
    headings = ["label", "test images", *stages, *(["agreement with the teacher"] if agreement else [])]
    return {"headings": headings, "rows": rows, "more": len(names) - len(shown)}
