"""Metrics of a network, and of a student beside its teacher."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from torch import Tensor

from kd_runner.evaluation.agreement import agreement_of
from kd_runner.evaluation.calibration import Reliability
from kd_runner.evaluation.class_metrics import brier_score, two_class_metrics
from kd_runner.tensors import mean_kl


def pack_bits(correct: Tensor) -> dict[str, Any]:
    """The correctness of every image, bool [N], for JSON: eight images a byte, in base64."""
    bits = np.packbits(correct.cpu().numpy())
    return {"images": len(correct), "bits": base64.b64encode(bits.tobytes()).decode()}


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Metrics of `logits` [N, K] against `labels` [N].

    Accuracies, precision, recall and F1 as means over the classes that occur in the labels,
    negative log-likelihood in nats, and the expected calibration error with 15 bins of equal width
    (Guo et al. 2017, arXiv:1706.04599). With 5 classes or fewer, top-5 accuracy is 1. Sums are of integers or float64.
    The balanced accuracy is the recall by its other name. Two classes have AUROC and average precision of the second.
    """
    classes = logits.shape[1]
    confusion = confusion_matrix(logits.argmax(1), labels, classes).double()
    hits, labelled, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    occurring = labelled > 0
    top = logits.topk(min(5, classes), dim=1).indices
    reliability = Reliability.of(logits, labels)
    return {
        "accuracy": (hits.sum() / confusion.sum()).item(),
        "balanced_accuracy": (hits / labelled.clamp_min(1))[occurring].mean().item(),
        "top5_accuracy": (top == labels.unsqueeze(1)).any(1).double().mean().item(),
        "precision": (hits / predicted.clamp_min(1))[occurring].mean().item(),
        "recall": (hits / labelled.clamp_min(1))[occurring].mean().item(),
        "f1": (2 * hits / (labelled + predicted).clamp_min(1))[occurring].mean().item(),
        "nll": reliability.nll,
        "ece": reliability.ece,
        "brier": brier_score(logits, labels),
        **(two_class_metrics(logits, labels) if classes == 2 else {}),
    }


def confusion_matrix(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """int64 [K, K]: the number of images of the row's class that were predicted to be of the column's class."""
    # torchmetrics' own takes [N, K²] of memory in deterministic mode; scikit-learn's is imported in 0.3 s and works
    # on the CPU.
    return (labels * num_classes + predictions).bincount(minlength=num_classes**2).view(num_classes, num_classes)


def pair_metrics(student_logits: Tensor, teacher_logits: Tensor) -> dict[str, Any]:
    """Measures of how close a student's predictions are to its teacher's; logits [N, K].

    agreement: share of images on which both predict the same class (Stanton et al. 2021, arXiv:2106.05945).
    kl_to_teacher: KL(teacher || student) at temperature 1, in nats, mean over the images.
    against_teacher: the student's metrics with the teacher's predicted classes as labels.
    """
    teacher_classes = teacher_logits.argmax(1)
    kl = mean_kl(student_logits.double().log_softmax(1), teacher_logits.double().log_softmax(1))
    return {
        "agreement": agreement_of(student_logits, teacher_logits),
        "kl_to_teacher": kl.item(),
        "against_teacher": classification_metrics(student_logits, teacher_classes),
    }


def gap_closed(student: float, baseline: float, teacher: float) -> float | None:
    """The share of the accuracy between baseline and teacher that the student won; None where there is no gap."""
    if teacher <= baseline:
        return None
    return (student - baseline) / (teacher - baseline)
