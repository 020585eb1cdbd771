"""Metrics against restatements in NumPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from sklearn.metrics import f1_score, precision_score, recall_score

from kd_runner.evaluation.metrics import classification_metrics, confusion_matrix, gap_closed, pair_metrics


def calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Σ over 15 bins of the share of images times |accuracy − confidence|, in float64."""
    probabilities = softmax(logits.astype(np.float64))
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * 15), 1, 15)
    return sum(abs(hit[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))


def test_golden_metrics(golden: Golden) -> None:
    metrics = classification_metrics(torch.tensor(golden.zs), golden.labels)
    assert metrics["nll"] == pytest.approx(1.682454, abs=1e-6)
    assert metrics["ece"] == pytest.approx(0.443580, abs=1e-6)
    pair = pair_metrics(torch.tensor(golden.zs), torch.tensor(golden.zt))
    assert pair["agreement"] == 0.25
    assert pair["kl_to_teacher"] == pytest.approx(1.743256, abs=1e-6)
    assert pair["against_teacher"]["accuracy"] == 0.25
    assert pair["against_teacher"]["nll"] == pytest.approx(2.099535, abs=1e-6)


def test_metrics_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(500, 8)), generator.integers(0, 8, 500)
    logits[np.arange(500), labels] += 1.0
    metrics = classification_metrics(torch.tensor(logits).float(), torch.tensor(labels))
    predicted = logits.argmax(1)
    assert metrics["accuracy"] == pytest.approx((predicted == labels).mean())
    top5 = np.argsort(-logits, 1)[:, :5]
    assert metrics["top5_accuracy"] == pytest.approx((top5 == labels[:, None]).any(1).mean())
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert metrics[name] == pytest.approx(score(labels, predicted, average="macro"), abs=1e-6)
    assert metrics["ece"] == pytest.approx(calibration_error(logits.astype(np.float32), labels), abs=1e-12)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_sums_over_many_images_are_those_of_float64(scale: float) -> None:
    generator = np.random.default_rng(1)
    logits = scale * generator.normal(size=(200_000, 10)).astype(np.float32)
    labels = generator.integers(0, 10, 200_000)
    metrics = classification_metrics(torch.tensor(logits), torch.tensor(labels))
    assert metrics["ece"] == pytest.approx(calibration_error(logits, labels), abs=1e-12)
    log_probabilities = np.log(softmax(logits.astype(np.float64)))
    assert metrics["nll"] == pytest.approx(-log_probabilities[np.arange(200_000), labels].mean(), rel=1e-12)
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean(), rel=1e-15)
    other = generator.normal(size=logits.shape).astype(np.float32)
    pair = pair_metrics(torch.tensor(other), torch.tensor(logits))
    p, q = softmax(logits.astype(np.float64)), softmax(other.astype(np.float64))
    assert pair["kl_to_teacher"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-10)
    assert pair["agreement"] == pytest.approx((logits.argmax(1) == other.argmax(1)).mean(), rel=1e-15)


def test_classes_without_images_are_left_out_and_many_classes_take_little_memory() -> None:
    labels = torch.tensor([3, 3, 7, 900])
    predicted = torch.tensor([3, 7, 7, 5])
    logits = torch.nn.functional.one_hot(predicted, 1000).float()
    torch.use_deterministic_algorithms(True)  # in which torchmetrics' confusion matrix takes [N, K²]
    try:
        metrics = classification_metrics(logits.repeat(500, 1), labels.repeat(500))
    finally:
        torch.use_deterministic_algorithms(False)
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert metrics[name] == pytest.approx(
            score(labels, predicted, labels=[3, 7, 900], average="macro", zero_division=0)
        ), name


def test_two_classes() -> None:
    metrics = classification_metrics(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    assert metrics["accuracy"] == 0.5
    assert metrics["top5_accuracy"] == 1


def test_the_gap() -> None:
    assert gap_closed(student=0.93, baseline=0.9, teacher=0.95) == pytest.approx(0.6)
    assert gap_closed(student=0.89, baseline=0.9, teacher=0.95) == pytest.approx(-0.2)
    assert gap_closed(student=0.93, baseline=0.95, teacher=0.95) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_counts_as_a_cpu_does_in_deterministic_mode() -> None:
    labels, predicted = torch.arange(1000) % 7, torch.arange(1000) % 5
    torch.use_deterministic_algorithms(True)
    try:
        counts = confusion_matrix(predicted.cuda(), labels.cuda(), 7).cpu()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(counts, confusion_matrix(predicted, labels, 7))
