"""Metrics where an image may have several labels, beside scikit-learn's and formulas written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, f1_score, log_loss

from kd_runner.evaluation.measures import measures_for
from kd_runner.evaluation.multi_label_analysis import analysis_of_labels
from kd_runner.evaluation.multi_label_metrics import (
    average_precisions,
    guessing_map,
    mean_average_precision,
    multi_label_metrics,
    multi_label_pair_metrics,
    table_of_labels,
)
from kd_runner.evaluation.predictions import Predictions

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.random((60, 4)) < [0.5, 0.2, 0.05, 0.8]
LOGITS = np.round(GENERATOR.normal(size=(60, 4)) + 2 * LABELS - 1, 1)  # rounded, so that some are equal
TEACHER = GENERATOR.normal(size=(60, 4))


def as_tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(LOGITS, dtype=torch.float32), torch.tensor(LABELS, dtype=torch.uint8)


def test_metrics_are_those_of_scikit_learn() -> None:
    found, said, probabilities = multi_label_metrics(*as_tensors()), LOGITS > 0, 1 / (1 + np.exp(-LOGITS))
    expected = {
        "map": average_precision_score(LABELS, LOGITS, average="macro"),
        "f1": f1_score(LABELS, said, average="macro"),
        "micro_f1": f1_score(LABELS, said, average="micro"),
        "label_accuracy": (said == LABELS).mean(),
        "exact_match": accuracy_score(LABELS, said),
        "bce": np.mean([log_loss(LABELS[:, n], probabilities[:, n]) for n in range(4)]),
        "brier": np.mean([brier_score_loss(LABELS[:, n], probabilities[:, n]) for n in range(4)]),
    }
    assert found == pytest.approx(expected, abs=1e-6)
    assert guessing_map(as_tensors()[1]) == pytest.approx(LABELS.mean(0).mean())


def test_a_label_that_no_image_has_counts_for_nothing() -> None:
    logits, labels = as_tensors()
    labels[:, 2] = 0
    precisions = average_precisions(logits, labels)
    assert precisions[2] is None
    assert mean_average_precision(logits, labels) == pytest.approx(np.mean([precisions[n] for n in (0, 1, 3)]))
    one = average_precisions(logits[:, :1], labels[:, :1])
    assert one == pytest.approx([average_precision_score(LABELS[:, 0], LOGITS[:, 0])], abs=1e-6)
    assert mean_average_precision(logits, torch.zeros_like(labels)) == 0
    large = torch.tensor([[100.0], [101.0], [99.0]])  # whose float32 sigmoids are all 1
    assert average_precisions(large, torch.tensor([[0], [1], [0]], dtype=torch.uint8)) == [1.0]


def test_closeness_is_of_each_label() -> None:
    student, teacher = 1 / (1 + np.exp(-LOGITS)), 1 / (1 + np.exp(-TEACHER))
    kl = teacher * np.log(teacher / student) + (1 - teacher) * np.log((1 - teacher) / (1 - student))
    logits, labels = as_tensors()
    found = multi_label_pair_metrics(logits, torch.tensor(TEACHER))
    alike = (LOGITS > 0) == (TEACHER > 0)
    assert found == pytest.approx({"agreement": alike.mean(), "kl_to_teacher": kl.mean()}, abs=1e-6)
    table = table_of_labels(logits, labels, torch.tensor(TEACHER))
    assert table["agreement"] == pytest.approx(alike.mean(0).tolist())
    assert table["f1"] == pytest.approx(f1_score(LABELS, LOGITS > 0, average=None).tolist())
    assert table["average_precision"] == average_precisions(logits, labels)


def test_labels_choose_what_is_measured() -> None:
    logits, labels = as_tensors()
    several, one = measures_for(labels), measures_for(labels.argmax(1))
    assert (several.score, several.val_score, several.record) == ("map", "val_map", {"metric": "map"})
    assert (one.score, one.val_score, one.record) == ("accuracy", "val_accuracy", {})
    assert "ece" in one.of_network(logits, labels.argmax(1))
    content = analysis_of_labels(Predictions({"student": logits, "teacher": -logits}, labels), list("abcd"))
    assert content["test_images"] == LABELS.sum(0).tolist()
    assert list(content["labels"]) == ["teacher", "student"]
    assert "agreement" not in content["labels"]["teacher"]
    assert max(content["labels"]["student"]["agreement"]) < 0.1
