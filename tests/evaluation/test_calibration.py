"""Calibration against numbers worked out by hand and restated in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from analysis_cases import some_logits
from conftest import softmax

from kd_runner.evaluation import calibration
from kd_runner.evaluation.calibration import Reliability
from kd_runner.evaluation.metrics import classification_metrics


def test_a_confidence_of_one_belongs_to_the_last_bin_and_a_bin_to_its_upper_edge() -> None:
    logits = torch.tensor([[40.0, 0], [40, 0], [2.9444, 0], [2.9444, 0]])  # confidences of 1, 1, 0.95 and 0.95
    labels = torch.tensor([0, 1, 0, 0])
    assert classification_metrics(logits, labels)["ece"] == pytest.approx(0.225, abs=1e-5)
    assert Reliability.of(logits, labels).counts.tolist() == [0] * 14 + [4]
    even = torch.zeros(6, 3, dtype=torch.float64)  # a third: the upper edge of bin 5
    assert Reliability.of(even, torch.arange(6) % 3).counts.tolist() == [0] * 4 + [6] + [0] * 10
    assert Reliability.of(torch.tensor([[1e4, -1e4]]), torch.tensor([0])).ece == 0


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


def test_bins_by_hand() -> None:
    # Confidences 0.9, 0.9, 0.65, 0.65: bins 14 and 10 of 15.
    logits = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.65, 0.35], [0.35, 0.65]]).log()
    found = calibration.calibration(logits, torch.tensor([0, 1, 0, 1]))
    assert found["counts"] == [0] * 8 + [0, 2] + [0] * 3 + [2, 0]
    assert found["accuracies"][13] == 0.5
    assert found["accuracies"][9] == 1
    assert found["accuracies"][0] is None
    assert found["confidences"][13] == pytest.approx(0.9)
    assert found["ece"] == pytest.approx((2 * 0.4 + 2 * 0.35) / 4)
    assert found["nll"] == pytest.approx(-(math.log(0.9) + math.log(0.1) + 2 * math.log(0.65)) / 4)


def test_calibration_is_that_of_the_result() -> None:
    logits, labels = some_logits(500, 7)
    logits[0] = torch.tensor([90.0] + [0.0] * 6)  # a confidence of 1 belongs to the last bin
    found, metrics = calibration.calibration(logits, labels), classification_metrics(logits, labels)
    assert sum(found["counts"]) == 500
    assert (found["ece"], found["nll"]) == (metrics["ece"], metrics["nll"])
    assert found["counts"][-1] >= 1


def test_the_best_temperature_is_the_best_on_a_grid() -> None:
    logits, labels = some_logits(400, 5)
    logits = 3 * logits
    best = calibration.best_temperature(logits, labels)
    assert best is not None
    grid = np.geomspace(0.1, 20, 2000)
    rows = np.arange(400)
    nll = [-np.log(softmax(logits.double().numpy(), each)[rows, labels.numpy()]).mean() for each in grid]
    assert best == pytest.approx(grid[int(np.argmin(nll))], rel=0.005)


def test_the_temperature_of_known_probabilities() -> None:
    # Three of four images right at logits (a, 0): the best confidence is 3/4, so a / T = log 3.
    logits, labels = torch.tensor([[5.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    assert calibration.best_temperature(logits, labels) == pytest.approx(5 / math.log(3), rel=1e-6)


@pytest.mark.parametrize(("labels", "expected"), [([0, 0], None), ([1, 1], calibration.HIGHEST)])
def test_ends_of_the_temperature(labels: list[int], expected: float | None) -> None:
    found = calibration.best_temperature(torch.tensor([[3.0, 0.0], [2.0, 0.0]]), torch.tensor(labels))
    assert found == (expected if expected is None else pytest.approx(expected, rel=1e-6))
    fitted = calibration.calibrations(*some_logits(20, 2), torch.tensor([[3.0, 0.0], [2.0, 0.0]]), torch.tensor(labels))
    assert (fitted["after"] is None) == (expected is None)


def test_the_temperature_is_the_one_that_lbfgs_finds_and_scales_the_test_images_alone() -> None:
    (logits, labels), (test_logits, test_labels) = some_logits(400, 5), some_logits(300, 5)
    logits, test_logits = 3 * logits.double(), 3 * test_logits.double().flip(1)
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale], lr=0.1, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / scale, labels)
        value.backward()
        return value

    optimizer.step(loss)
    found = calibration.calibrated_metrics(test_logits, test_labels, logits, labels)
    assert found["temperature"] == pytest.approx(scale.item(), rel=1e-6)
    scaled = classification_metrics(test_logits / scale.item(), test_labels)
    assert (found["nll"], found["ece"]) == pytest.approx((scaled["nll"], scaled["ece"]), rel=1e-5)
    assert scaled["accuracy"] == classification_metrics(test_logits, test_labels)["accuracy"]
    right = torch.tensor([[3.0, 0.0]]), torch.tensor([0])
    assert calibration.calibrated_metrics(*right, *right) == {"temperature": None, "nll": None, "ece": None}
