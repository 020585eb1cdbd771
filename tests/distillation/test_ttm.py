"""Transformed teacher matching, weighted and not, against sums of float64 numbers, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import Golden

from kd_runner.distillation.ttm import TTM
from kd_runner.distillation.wttm import WTTM, power_sums
from kd_runner.outputs import Outputs


def probabilities(row: np.ndarray) -> list[float]:
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


def restated(zs: np.ndarray, zt: np.ndarray, gamma: float) -> tuple[float, float]:
    """(TTM, WTTM): the teacher's probabilities to the power gamma, normalised, against the student's."""
    plain = weighted = 0.0
    for student_row, teacher_row in zip(zs, zt, strict=True):
        powers = [p**gamma for p in probabilities(teacher_row)]
        whole = sum(powers)
        divergence = 0.0
        for power, q in zip(powers, probabilities(student_row), strict=True):
            divergence += power / whole * math.log(power / whole / q)
        plain += divergence / len(zs)
        weighted += whole * divergence / len(zs)
    return plain, weighted


@pytest.mark.parametrize(
    ("temperature", "known"), [(1, (1.743256, 1.743256)), (5, (0.900976, 2.336322)), (10, (0.810426, 2.809529))]
)
def test_is_the_divergence_from_the_power_transform(
    golden: Golden, temperature: float, known: tuple[float, float]
) -> None:
    values = restated(golden.zs, golden.zt, 1 / temperature)
    assert values == pytest.approx(known, abs=1e-6)
    for mode, value in zip((TTM(), WTTM()), values, strict=True):
        loss = mode(golden.student, golden.teacher, golden.labels, temperature).item()
        assert loss == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("temperature", [1, 4])
def test_gradient(golden: Golden, temperature: float) -> None:
    """(student's probability − transformed teacher's) / images, times the weight: no factor of the temperature."""
    for mode in (TTM(), WTTM()):
        student = torch.tensor(golden.zs, requires_grad=True)
        mode(Outputs(student), golden.teacher, golden.labels, temperature).backward()
        assert student.grad is not None
        for row in range(4):
            powers = [p ** (1 / temperature) for p in probabilities(golden.zt[row])]
            weight = sum(powers) if isinstance(mode, WTTM) else 1.0
            for column, q in enumerate(probabilities(golden.zs[row])):
                wanted = weight * (q - powers[column] / sum(powers)) / 4
                assert student.grad[row, column].item() == pytest.approx(wanted, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("mode", [TTM(), WTTM()])
def test_is_least_where_the_student_is_the_softened_teacher(golden: Golden, mode: TTM | WTTM) -> None:
    student = Outputs(torch.tensor(golden.zt / 4))
    assert mode(student, golden.teacher, golden.labels, 4).item() == pytest.approx(0, abs=1e-12)
    assert mode(golden.teacher, golden.teacher, golden.labels, 4).item() > 0.1


def test_weights_lie_between_one_and_the_uniform_teachers() -> None:
    sure, unsure = power_sums(torch.tensor([[200.0, 0, 0, 0], [3.0, 3, 3, 3]]), 4)
    assert sure.item() == pytest.approx(1)
    assert unsure.item() == pytest.approx(4 ** (1 - 1 / 4))
