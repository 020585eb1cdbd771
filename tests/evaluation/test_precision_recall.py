"""Precision and recall by hand and by scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import average_precision_score

from kd_runner.evaluation import precision_recall


def test_precision_and_recall_by_hand() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.35, 0.65], [0.2, 0.8]]).log()
    found = precision_recall.precision_recall(logits, torch.tensor([0, 1, 0, 1]))
    assert found is not None
    assert [found["predicted"][0][threshold] for threshold in (0, 30, 50, 70, 95)] == [4, 3, 2, 1, 0]
    assert [found["hits"][0][threshold] for threshold in (0, 30, 50, 70, 95)] == [2, 2, 1, 1, 0]
    assert found["average"][0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert precision_recall.precision_recall(torch.zeros(3, 11), torch.zeros(3, dtype=torch.int64)) is None


def test_average_precision_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(1)
    for levels in (1, 2, 20, 10**6):  # with ties, and with few or none
        scores = torch.randint(0, levels, (200,), generator=generator) / levels
        positive = torch.rand(200, generator=generator) < 0.1 + scores
        expected = average_precision_score(positive.numpy(), scores.numpy())
        assert precision_recall.average_precision(scores, positive) == expected
    every = torch.ones(200, dtype=torch.bool)
    assert precision_recall.average_precision(scores, every) == 1
    assert precision_recall.average_precision(scores, torch.zeros(200, dtype=torch.bool)) is None
    assert precision_recall.average_precision(scores.log().log(), positive) is None  # some scores are no numbers
