"""Metrics against restatements in NumPy and scikit-learn."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from sklearn.metrics import f1_score, precision_score, recall_score
from torch import Tensor, nn

from kd_runner.evaluation.cost import latency
from kd_runner.evaluation.metrics import Reliability, classification_metrics, gap_closed, pair_metrics


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


def test_a_confidence_of_one_belongs_to_the_last_bin_and_a_bin_to_its_upper_edge() -> None:
    logits = torch.tensor([[40.0, 0], [40, 0], [2.9444, 0], [2.9444, 0]])  # confidences of 1, 1, 0.95 and 0.95
    labels = torch.tensor([0, 1, 0, 0])
    assert classification_metrics(logits, labels)["ece"] == pytest.approx(0.225, abs=1e-5)
    assert Reliability.of(logits, labels).counts.tolist() == [0] * 14 + [4]
    even = torch.zeros(6, 3, dtype=torch.float64)  # a third: the upper edge of bin 5
    assert Reliability.of(even, torch.arange(6) % 3).counts.tolist() == [0] * 4 + [6] + [0] * 10
    assert Reliability.of(torch.tensor([[1e4, -1e4]]), torch.tensor([0])).ece == 0


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


@pytest.mark.parametrize(("seconds", "passes"), [(0.0, 53), (0.004, 19), (0.03, 8)])
def test_latency_is_the_median_of_some_passes_after_the_first(
    seconds: float, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is one that the network moves, so that a busy machine changes nothing."""

    class Slow(nn.Module):
        seen = 0
        clock = 0.0

        def forward(self, image: Tensor) -> Tensor:
            assert not self.training
            assert torch.is_inference_mode_enabled()
            self.seen += 1
            self.clock += 0.1 if self.seen < 4 else 0.04 if self.seen == 5 else seconds
            return image

    network = Slow()
    monkeypatch.setattr(time, "perf_counter", lambda: network.clock)
    assert latency(network, torch.zeros(1, 1, 2, 2)) == pytest.approx(seconds)
    assert network.seen == passes


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_adds_the_same_numbers_in_the_same_order() -> None:
    logits, labels = torch.randn(100_000, 10, generator=torch.Generator().manual_seed(0)), torch.arange(100_000) % 10
    torch.use_deterministic_algorithms(True)
    try:
        values = {Reliability.of(logits.cuda(), labels.cuda()).ece for _ in range(5)}
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(values) == 1
