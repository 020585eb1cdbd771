"""Metrics of a network where an image may have several labels, and of a student beside its teacher."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from kd_runner.evaluation.agreement import agreement_of, same_predictions
from kd_runner.evaluation.precision_recall import average_precision
from kd_runner.tensors import mean_kl, one_versus_all


def average_precisions(logits: Tensor, labels: Tensor) -> list[float | None]:
    """The average precision of each label, in [0, 1]; None for a label that no image has.

    Images with equal logits are taken together, as in scikit-learn's `average_precision_score`.

    Args:
        logits: [N, K].
        labels: uint8 [N, K].
    """
    # Of the logits, whose sigmoids are all 1 where they are large.
    return [average_precision(logits[:, number], labels[:, number].bool()) for number in range(labels.shape[1])]


def mean_average_precision(logits: Tensor, labels: Tensor) -> float:
    """mAP: the mean of `average_precisions` over the labels that any image has; 0 where none has one."""
    return mean_of_known(average_precisions(logits, labels))


def mean_of_known(values: list[float | None]) -> float:
    """The mean of the values that are known; 0 where none is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else 0.0


def multi_label_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Metrics of logits [N, K] against labels uint8 [N, K]; a logit above 0 says that an image has a label.

    map: mean average precision over the labels that any image has. f1: mean over the same labels. micro_f1: of all
    decisions together. label_accuracy: share of right decisions. exact_match: share of the images of which all
    decisions are right. bce and brier: binary cross-entropy in nats, and squared distance of probability and label,
    both means over images and labels.
    """
    truth, predicted = labels.bool(), logits > 0
    hits, true_counts, predicted_counts = ((truth & predicted).sum(0), truth.sum(0), predicted.sum(0))
    f1 = _f1(hits, true_counts, predicted_counts)
    right = truth == predicted
    double, target = logits.double(), labels.double()
    return {
        "map": mean_average_precision(logits, labels),
        "f1": f1[true_counts > 0].mean().item() if bool((true_counts > 0).any()) else 0.0,
        "micro_f1": _f1(hits.sum(), true_counts.sum(), predicted_counts.sum()).item(),
        "label_accuracy": right.double().mean().item(),
        "exact_match": right.all(1).double().mean().item(),
        "bce": F.binary_cross_entropy_with_logits(double, target).item(),
        "brier": (double.sigmoid() - target).square().mean().item(),
    }


def _f1(hits: Tensor, true: Tensor, predicted: Tensor) -> Tensor:
    """F1 from counts, 2 · hits / (true + predicted), float64; 0 where nothing is true and nothing is predicted."""
    return 2 * hits.double() / (true + predicted).clamp_min(1)


def multi_label_pair_metrics(student_logits: Tensor, teacher_logits: Tensor) -> dict[str, Any]:
    """Measures of how close a student's predictions are to its teacher's; logits [N, K].

    agreement: share of images and labels on which both decide alike. kl_to_teacher: KL(teacher || student) of each
    label's two probabilities, in nats, mean over images and labels.
    """
    student, teacher = (one_versus_all(logits.double()).log_softmax(1) for logits in (student_logits, teacher_logits))
    return {
        "agreement": agreement_of(student_logits, teacher_logits, multi_label=True),
        "kl_to_teacher": mean_kl(student, teacher).item(),
    }


def table_of_labels(logits: Tensor, labels: Tensor, teacher_logits: Tensor | None = None) -> dict[str, list[Any]]:
    """Metrics of each label, as plain data: average_precision, f1, and, with a teacher's logits, agreement."""
    truth, predicted = labels.bool(), logits > 0
    true_counts = truth.sum(0)
    f1 = _f1((truth & predicted).sum(0), true_counts, predicted.sum(0)).tolist()
    table: dict[str, list[Any]] = {
        "average_precision": average_precisions(logits, labels),
        "f1": [value if count else None for value, count in zip(f1, true_counts.tolist(), strict=True)],
    }
    if teacher_logits is not None:
        table["agreement"] = same_predictions(logits, teacher_logits, multi_label=True).double().mean(0).tolist()
    return table


def guessing_map(labels: Tensor) -> float:
    """The mAP that a network without any knowledge is near: the mean share of images that have a label."""
    shares = labels.double().mean(0)
    return float(shares[shares > 0].mean()) if bool((shares > 0).any()) else 0.0
