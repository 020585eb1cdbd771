"""The label loss with weights of classes, held against PyTorch's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from kd_runner.training.label_loss import LabelLoss, weights_of_classes

LABELS = torch.tensor([0] * 6 + [1] * 3 + [2] * 1 + [4] * 2)  # class 3 has no image


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    weights = weights_of_classes("balanced", LABELS, 5)
    present = np.array([0, 1, 2, 4])
    expected = compute_class_weight("balanced", classes=present, y=LABELS.numpy())
    assert weights[present].tolist() == pytest.approx(expected.tolist())
    assert weights[3] == 0


def test_over_all_images_the_loss_is_that_of_pytorch_whatever_the_scale_of_the_weights() -> None:
    logits = torch.randn(len(LABELS), 5, generator=torch.Generator().manual_seed(0))
    given = (1.0, 2.0, 5.0, 9.0, 0.5)
    expected = F.cross_entropy(logits, LABELS, torch.tensor(given))
    for scale in (1.0, 100.0):
        loss = LabelLoss(0.0, tuple(scale * weight for weight in given), lambda: LABELS)
        assert float(loss(logits, LABELS)) == pytest.approx(float(expected), rel=1e-6)
        parts = [loss(logits[rows], LABELS[rows]) * len(LABELS[rows]) for rows in (slice(0, 5), slice(5, 12))]
        assert float(sum(parts)) / len(LABELS) == pytest.approx(float(expected), rel=1e-6)


def test_without_weights_it_is_plain_cross_entropy_with_smoothing() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    loss = LabelLoss(0.1, None, lambda: LABELS)(logits, LABELS[:4])
    assert torch.equal(loss, F.cross_entropy(logits, LABELS[:4], label_smoothing=0.1))
