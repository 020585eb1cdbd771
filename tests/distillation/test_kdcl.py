"""Collaborative learning's targets and loss against restatements in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from torch import Tensor

from kd_runner.distillation.kdcl import ENSEMBLES, KDCL
from kd_runner.outputs import Outputs


def logits_of(golden: Golden) -> np.ndarray:
    """[3, N, K]"""
    return np.stack([golden.zs, golden.zt, golden.zt[:, ::-1]])


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(softmax(logits)[np.arange(len(labels)), labels])


def targets(name: str, logits: np.ndarray, labels: np.ndarray) -> Tensor:
    return ENSEMBLES[name](torch.tensor(logits), torch.tensor(labels))


def test_naive_takes_the_peer_that_is_most_right_on_each_image(golden: Golden) -> None:
    logits = logits_of(golden)
    best = np.stack([cross_entropy(z, golden.y) for z in logits]).argmin(0)
    assert len(set(best)) > 1
    wanted = logits[best, np.arange(4)]
    np.testing.assert_array_equal(targets("naive", logits, golden.y).numpy(), wanted)


def test_minlogit_takes_the_smallest_distance_to_the_label(golden: Golden) -> None:
    logits = logits_of(golden)
    distances = logits - logits[:, np.arange(4), golden.y][:, :, None]
    np.testing.assert_allclose(targets("minlogit", logits, golden.y).numpy(), distances.min(0), atol=1e-12)


@pytest.mark.parametrize("peers", [2, 3])
def test_linear_has_the_weights_of_the_smallest_cross_entropy(golden: Golden, peers: int) -> None:
    logits = logits_of(golden)[:peers]
    steps = np.linspace(0, 1, 61)
    first, second = (weights.ravel() for weights in np.meshgrid(steps, steps if peers == 3 else [0.0]))
    weights = np.stack([first, 1 - first - second, second])[:peers].T
    mixed = np.einsum("gp,pnk->gnk", weights[(weights >= -1e-9).all(1)], logits)
    losses = np.stack([cross_entropy(z, golden.y) for z in mixed])
    found = cross_entropy(targets("linear", logits, golden.y).numpy(), golden.y)
    assert (found <= losses.min(0) + 1e-6).all()
    assert (found >= losses.min(0) - 1e-2).all()  # no point of the grid is the best of all
    assert (found < np.stack([cross_entropy(z, golden.y) for z in logits]).min(0) - 1e-3).any()


@pytest.mark.parametrize("name", list(ENSEMBLES))
def test_the_loss_is_the_divergence_from_a_target_without_gradient(golden: Golden, name: str) -> None:
    zs = torch.tensor(golden.zs, requires_grad=True)
    teachers = replace(golden.teacher, others=(Outputs(torch.tensor(golden.zt[:, ::-1].copy())),))
    loss = KDCL(name)(Outputs(zs), teachers, golden.labels, 2.0)  # type: ignore[arg-type]
    target = softmax(targets(name, logits_of(golden), golden.y).numpy(), 2.0)
    student = softmax(golden.zs, 2.0)
    assert float(loss.detach()) == pytest.approx(4 * float((target * np.log(target / student)).sum(1).mean()), rel=1e-9)
    loss.backward()
    assert zs.grad is not None
    np.testing.assert_allclose(zs.grad.numpy(), 2 * (student - target) / 4, atol=1e-9)  # T² · (q − p) / T, mean of 4
