"""The analysis of a run's predictions where an image may have several labels, as plain data for its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kd_runner.datasets.inspection.survey import class_counts
from kd_runner.evaluation.multi_label_metrics import table_of_labels
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.stages import STAGES, TEACHER


def analysis_of_labels(test: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    """The content of analysis.json, except for the epochs: for each label the test images that have it, and each
    network's average precision, F1, and agreement with the teacher.

    Args:
        test: Logits of the test images by role; 'baseline' may be missing.
        classes: The names of the labels.
    """
    teacher = test.logits.get(TEACHER)
    roles = [role for role in STAGES if role in test.logits]
    return {
        "classes": list(classes),
        "test_images": class_counts(test.labels, len(classes)),
        "labels": {
            role: table_of_labels(test.logits[role], test.labels, None if role == TEACHER else teacher)
            for role in roles
        },
    }
