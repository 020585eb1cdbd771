"""Metrics of networks on labelled images: every metric of a run's result, from their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from kd_runner.evaluation.analysis import most_confused
from kd_runner.evaluation.calibration import calibration, ratios
from kd_runner.evaluation.class_metrics import metrics_of_classes
from kd_runner.evaluation.metrics import classification_metrics, confusion_matrix, pair_metrics
from kd_runner.evaluation.precision_recall import precision_recall
from kd_runner.files.stages import TEACHER


def measure(logits: Mapping[str, Tensor], labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """The metrics of each network on the same images, as plain data.

    Args:
        logits: float32 [N, K] by the network's name; those of 'teacher' are what the others are compared with.
        labels: int64 [N].
        classes: The K class names.
    """
    confusions = {name: confusion_matrix(part.argmax(1), labels, len(classes)) for name, part in logits.items()}
    shown = most_confused(list(confusions.values()))
    networks = {}
    for name, part in logits.items():
        of_pair = pair_metrics(part, logits[TEACHER]) if TEACHER in logits and name != TEACHER else {}
        confusion = confusions[name]
        networks[name] = {
            **classification_metrics(part, labels),
            **of_pair,
            "class_accuracy": ratios(confusion.diagonal(), confusion.sum(1)),
            **metrics_of_classes(confusion),
            "confusion": confusion[shown][:, shown].tolist(),
            "calibration": calibration(part, labels),
            "precision_recall": precision_recall(part, labels),
            "most_taken_for": _most_taken_for(confusion),
        }
    return {
        "images": len(labels),
        "classes": list(classes),
        "images_of_class": labels.bincount(minlength=len(classes)).tolist(),
        "confusion_classes": shown.tolist(),
        "networks": networks,
    }


def _most_taken_for(confusion: Tensor) -> list[dict[str, int] | None]:
    """The other class that images of each class are most often taken for, and how many are; None where none is."""
    mistakes = confusion.clone()
    mistakes.fill_diagonal_(0)
    counts, numbers = mistakes.max(1)
    pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
    return [{"class": number, "images": count} if count else None for number, count in pairs]
