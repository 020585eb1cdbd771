"""Brier score, AUROC, average precision and the numbers of each class, against restatements and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from kd_runner.evaluation.class_metrics import brier_score, metrics_of_classes, two_class_metrics
from kd_runner.evaluation.metrics import classification_metrics, confusion_matrix


def cases(classes: int, seed: int = 0, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Logits, multiples of an eighth so that some are equal; labels of all classes but the last of three or more."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(2, classes - 1), count)
    logits = np.round(8 * rng.normal(0, 1, (count, classes)) + 12 * np.eye(classes)[labels]) / 8
    return logits, labels


def restated_brier(logits: np.ndarray, labels: np.ndarray) -> float:
    """Brier 1950, equation 2, image by image; of two classes the square of one of the two equal differences."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        powers = [math.exp(value) for value in row]
        differences = [(power / sum(powers) - (number == label)) ** 2 for number, power in enumerate(powers)]
        total += differences[1] if len(row) == 2 else sum(differences)
    return total / len(labels)


def restated_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs of a positive and a negative image in the right order, equal ones as half (Mann-Whitney)."""
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_brier_score(classes: int) -> None:
    logits, labels = cases(classes)
    found = brier_score(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels))
    assert found == pytest.approx(restated_brier(logits, labels), abs=1e-7)


def test_brier_score_at_the_ends_of_its_range() -> None:
    logits = torch.tensor([[1000.0, 0.0, 0.0], [0.0, 1000.0, 0.0]])
    assert brier_score(logits, torch.tensor([0, 1])) == 0
    assert brier_score(logits, torch.tensor([1, 2])) == 2
    assert brier_score(logits[:, :2], torch.tensor([1, 0])) == 1
    assert brier_score(torch.zeros(5, 4), torch.arange(5) % 4) == pytest.approx(0.75)
    assert (
        brier_score(torch.zeros(5, 2), torch.arange(5) % 2) == 0.25
    )  # as scikit-learn's, with a probability of a half


@pytest.mark.parametrize("scale", [1, 100])
def test_two_classes_have_auroc_and_average_precision(scale: int) -> None:
    """Logits a hundred times as large, whose sigmoid is 0 or 1, are in the same order."""
    logits, labels = cases(2)
    found = two_class_metrics(torch.tensor(scale * logits), torch.tensor(labels))
    scores = logits[:, 1] - logits[:, 0]
    assert found["auroc"] == pytest.approx(restated_auroc(scores, labels), abs=1e-6)
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_auroc_of_a_perfect_a_wrong_and_an_undecided_network() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    order = torch.tensor([[9.0, 0.0], [8.0, 0.0], [0.0, 8.0], [0.0, 9.0]])
    assert two_class_metrics(order, labels) == {"auroc": 1.0, "average_precision": 1.0}
    assert two_class_metrics(-order, labels)["auroc"] == 0
    assert two_class_metrics(torch.zeros(4, 2), labels) == {"auroc": 0.5, "average_precision": 0.5}


@pytest.mark.parametrize("label", [0, 1])
def test_without_images_of_one_class_nothing_is_made_up(label: int) -> None:
    metrics = classification_metrics(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([label, label]))
    assert metrics["auroc"] is None
    assert metrics["average_precision"] is None
    assert metrics["balanced_accuracy"] == 0.5
    assert all(value is None or math.isfinite(value) for value in metrics.values())


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    logits, labels = cases(5)
    metrics = classification_metrics(torch.tensor(logits), torch.tensor(labels))
    assert metrics["balanced_accuracy"] == metrics["recall"]
    predicted = torch.tensor(logits).argmax(1).numpy()
    shares = [float((predicted[labels == label] == label).mean()) for label in range(4)]
    assert metrics["balanced_accuracy"] == pytest.approx(sum(shares) / 4)
    seen = np.isin(predicted, range(4))
    assert balanced_accuracy_score(labels[seen], predicted[seen]) >= metrics["balanced_accuracy"]
    assert "auroc" not in metrics


def test_numbers_of_each_class() -> None:
    logits, labels = cases(5)
    logits[:, 1] = -9  # which is never predicted, while the last has no image
    confusion = confusion_matrix(torch.tensor(logits).argmax(1), torch.tensor(labels), 5)
    found = metrics_of_classes(confusion)
    expected = precision_recall_fscore_support(labels, logits.argmax(1), labels=range(5), zero_division=np.nan)
    assert found["class_precision"][1] is None
    assert found["class_precision"][4] == 0
    assert found["class_f1"][4] is None
    assert found["class_f1"][1] == 0
    for label in (0, 2, 3):
        assert found["class_precision"][label] == pytest.approx(expected[0][label])
        assert found["class_f1"][label] == pytest.approx(expected[2][label])
