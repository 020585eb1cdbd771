"""Singular vectors against NumPy's decomposition, image by image."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from feature_cases import LABELS, MS, MT, adapted, fixed, halved, loss_of, numpy_of, outputs
from torch import nn

from kd_runner.distillation.kdsvd import KDSVD, leading_vectors

RANDOM = np.random.default_rng(0)
STUDENT = [RANDOM.normal(size=(3, *shape)) for shape in ((5, 4, 4), (12, 2, 2), (6, 2, 2))]
TEACHER = [RANDOM.normal(size=(3, *shape)) for shape in ((5, 4, 4), (12, 2, 2), (6, 3, 3))]


def decomposed(maps: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """([C, count], [count]) of one image's maps [C, H, W]."""
    _, values, right = np.linalg.svd(maps.reshape(len(maps), -1).T, full_matrices=False)
    return right[:count].T, values[:count]


def weighted(student: np.ndarray, teacher: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    wanted, values = decomposed(teacher, count)
    candidates, _ = decomposed(student, count + 1)
    weights = values / np.linalg.norm(values)
    found = []
    for number in range(count):
        wanted[:, number] *= -1 if wanted[:, number].sum() < 0 else 1
        cosines = candidates.T @ wanted[:, number]
        best = np.abs(cosines).argmax()
        found.append(np.sign(cosines[best]) * candidates[:, best])
    return np.array(found).T * weights, wanted * weights


def restated(student: list[np.ndarray], teacher: list[np.ndarray], count: int) -> float:
    total, images = 0.0, len(student[0])
    for image in range(images):
        pairs = [weighted(s[image], t[image], count) for s, t in zip(student, teacher, strict=True)]
        for first, second in itertools.pairwise(pairs):
            given, wanted = (np.exp(-((first[role][:, None] - second[role]) ** 2) / 8) for role in (0, 1))
            total += ((given - wanted) ** 2).sum()
    return total / images


@pytest.mark.parametrize(("count", "known"), [(1, 0.400163), (2, 0.162305)])
def test_is_the_difference_of_the_relations(count: int, known: float) -> None:
    value = restated(STUDENT, TEACHER, count)
    assert value == pytest.approx(known, abs=1e-6)
    assert loss_of(adapted(KDSVD(count), STUDENT, TEACHER), STUDENT, TEACHER) == pytest.approx(value, rel=1e-9)


def test_a_narrower_layer_is_widened() -> None:
    student, teacher = [MS, halved(MS)], [MT, halved(MT[:, :3])]
    mode = fixed(adapted(KDSVD(), student, teacher))
    assert [isinstance(adapter, nn.Identity) for adapter in mode.adapters] == [False, True]
    wide = np.einsum("oi,nihw->nohw", numpy_of(mode.adapters[0].weight)[:, :, 0, 0], MS)
    assert loss_of(mode, student, teacher) == pytest.approx(restated([wide, student[1]], teacher, 1), rel=1e-6)


@pytest.mark.parametrize("shape", [(5, 4, 4), (12, 2, 2)])
def test_gradient_is_that_of_torchs_decomposition(shape: tuple[int, ...]) -> None:
    maps = torch.tensor(RANDOM.normal(size=(2, *shape)), requires_grad=True)
    weights = torch.tensor(RANDOM.normal(size=(2, shape[0], 2)))
    vectors, values = leading_vectors(maps, 2)
    _, wanted_values, right = torch.linalg.svd(maps.flatten(2).transpose(1, 2), full_matrices=False)
    wanted = right.transpose(1, 2)[..., :2]
    wanted = wanted * (wanted * vectors).sum(1, keepdim=True).sign().detach()
    torch.testing.assert_close(values, wanted_values[:, :2])
    torch.testing.assert_close(vectors, wanted)
    gradients = [torch.autograd.grad((each * weights).sum(), maps, retain_graph=True)[0] for each in (vectors, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("fill", [0.0, 1.0, float("nan")])
def test_layers_of_equal_numbers_have_a_finite_gradient(fill: float) -> None:
    """All singular values but one are 0 there; torch's own gradient is not finite. No number, no error."""
    student = [torch.full((3, 5, 4, 4), fill, requires_grad=True), torch.tensor(STUDENT[1]).float()]
    mode = adapted(KDSVD(), STUDENT[:2], TEACHER[:2]).float()
    mode(outputs(*student), outputs(*(torch.tensor(layer).float() for layer in TEACHER[:2])), LABELS[:3], 4).backward()
    assert student[0].grad is not None
    assert math.isnan(fill) or torch.isfinite(student[0].grad).all()


def test_refuses_one_layer_and_no_vectors() -> None:
    with pytest.raises(ValueError, match="must have 2 layers or more of each network, got 1"):
        adapted(KDSVD(), [MS], [MT])
    with pytest.raises(ValueError, match="vectors must be 1 or more, got 0"):
        KDSVD(0)
