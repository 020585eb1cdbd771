"""Prime-aware distillation against sums of float64 numbers, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from feature_cases import FS, FT_, LABELS, MS, MT, adapted, fixed, loss_of, numpy_of, outputs
from torch import nn

from kd_runner.distillation.pad import PAD


def restated(mode: PAD, student: np.ndarray, teacher: np.ndarray) -> float:
    if isinstance(mode.connector, nn.Linear):
        student = student @ numpy_of(mode.connector.weight).T + numpy_of(mode.connector.bias)
    dense, norm = mode.log_variance
    raw = student @ numpy_of(dense.weight).T + numpy_of(dense.bias)
    scaled = (raw - raw.mean(0)) / np.sqrt(raw.var(0) + 1e-5)
    logs = scaled * numpy_of(norm.weight) + numpy_of(norm.bias)
    terms = [
        (s - t) ** 2 / (math.exp(log) + 1e-6) + log
        for s, t, log in zip(student.ravel(), teacher.ravel(), logs.ravel(), strict=True)
    ]
    return sum(terms) / len(terms)


@pytest.mark.parametrize(("student", "teacher", "known"), [(FS, FT_, 8.058845), (0.5 * FT_, FT_, 0.157949)])
def test_is_the_distance_over_the_variance_and_its_logarithm(
    student: np.ndarray, teacher: np.ndarray, known: float
) -> None:
    mode = fixed(adapted(PAD(), [student], [teacher]))
    assert restated(mode, student, teacher) == pytest.approx(known, abs=1e-6)
    assert loss_of(mode, [student], [teacher]) == pytest.approx(restated(mode, student, teacher), rel=1e-9)


def test_maps_are_averaged() -> None:
    mode = fixed(adapted(PAD(), [MS], [MT]))
    assert loss_of(mode, [MS], [MT]) == pytest.approx(restated(mode, MS.mean((2, 3)), MT.mean((2, 3))), rel=1e-9)


def test_an_image_with_a_large_variance_moves_the_student_less() -> None:
    """The gradient of an embedding is its distance over the variance, where the variance is held."""
    mode = adapted(PAD(), [FT_], [FT_])
    nn.init.zeros_(mode.log_variance[1].weight)
    sizes = []
    for log_variance in (0.0, math.log(10)):
        nn.init.constant_(mode.log_variance[1].bias, log_variance)
        student = torch.tensor(FT_ + 1, requires_grad=True)
        mode(outputs(student), outputs(FT_), LABELS, 4).backward()
        assert student.grad is not None
        sizes.append(student.grad.abs().mean().item())
    assert sizes[0] == pytest.approx(2 / FT_.size, rel=1e-5)
    assert sizes[0] / sizes[1] == pytest.approx(10, rel=1e-4)
