"""The label loss with weights of classes, held against PyTorch's and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from kd_runner.datasets.labels.beside_labels import UNLABELLED
from kd_runner.training.label_loss import LabelLoss, LossWhereLabelled, weights_of_classes
from kd_runner.training.switches import ClassWeights

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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [None, "balanced"])
@pytest.mark.parametrize("kind", [LabelLoss, LossWhereLabelled])
def test_weights_of_images_multiply_their_losses_and_those_of_their_classes(
    smoothing: float, class_weights: ClassWeights, kind: type[LabelLoss]
) -> None:
    random = np.random.default_rng(0)
    logits, image_weights = random.normal(size=(len(LABELS), 5)), random.uniform(0, 2, len(LABELS))
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = np.full((len(LABELS), 5), smoothing / 5)
    targets[np.arange(len(LABELS)), LABELS] += 1 - smoothing
    of_class = weights_of_classes("balanced", LABELS, 5).numpy() if class_weights else np.ones(5)
    losses = -(targets * log_probabilities).sum(1) * of_class[LABELS]
    loss = kind(smoothing, class_weights, lambda: LABELS)
    value = loss(torch.tensor(logits).float(), LABELS, torch.tensor(image_weights).float())
    assert float(value) == pytest.approx(float((image_weights * losses).mean()), rel=1e-6)


@pytest.mark.parametrize("asked", ["balanced", (1.0, 2.0, 3.0)])
def test_images_without_any_label_have_a_label_loss_of_0_beside_weights_of_classes(asked: ClassWeights) -> None:
    """Images that are made have no labels."""
    labels = torch.full((4,), UNLABELLED)
    assert weights_of_classes(asked, labels[:0], 3).tolist() == [1, 1, 1]
    logits = torch.randn(4, 3, requires_grad=True)
    loss = LossWhereLabelled(0.0, asked, lambda: labels)(logits, labels)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("kind", [LabelLoss, LossWhereLabelled])
def test_weights_of_classes_leave_the_smoothed_label_the_target(kind: type[LabelLoss]) -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    loss = kind(0.1, "balanced", lambda: labels)
    # Where the softmax is the smoothed label of each image, the loss has no gradient, whatever the weights.
    smoothed = (0.9 * F.one_hot(labels, 2) + 0.05).double()
    logits = smoothed.log().requires_grad_()
    loss(logits, labels).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-9
    # Both classes count the same, so that equal logits for all images are best at one half.
    equal = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    loss(equal.expand(100, 2), labels).backward()
    assert equal.grad is not None
    assert float(equal.grad.abs().max()) < 1e-6


def test_without_smoothing_weights_give_the_bits_that_pytorch_gives() -> None:
    given = torch.randn(len(LABELS), 5, generator=torch.Generator().manual_seed(0))
    gradients = []
    for is_of_pytorch in (False, True):
        logits = given.clone().requires_grad_()
        if is_of_pytorch:
            weights = weights_of_classes("balanced", LABELS, 5)
            loss = F.cross_entropy(logits, LABELS, weights, reduction="none").mean()
        else:
            loss = LabelLoss(0.0, "balanced", lambda: LABELS)(logits, LABELS)
        loss.backward()
        assert logits.grad is not None
        gradients.append((loss.detach(), logits.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])


def test_an_image_without_a_label_has_no_loss_whatever_its_weight() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.tensor([2, UNLABELLED, 4]), torch.tensor([1.0, 7.0, 3.0])
    losses = F.cross_entropy(logits[[0, 2]], labels[[0, 2]], reduction="none")
    value = LossWhereLabelled(0.0, None, lambda: labels)(logits, labels, weights)
    assert float(value) == pytest.approx(float(losses[0] + 3 * losses[1]) / 3, rel=1e-6)
