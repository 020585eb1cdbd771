"""Normalised logits against sums of float64 numbers, one by one."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from conftest import Golden

from kd_runner.distillation.normkd import NormKD
from kd_runner.outputs import Outputs


def restated(zs: np.ndarray, zt: np.ndarray, norm: float) -> float:
    total = 0.0
    for student_row, teacher_row in zip(zs.tolist(), zt.tolist(), strict=True):
        softened = []
        for row in (student_row, teacher_row):
            own_temperature = statistics.stdev(row) * norm
            exponentials = [math.exp(z / own_temperature) for z in row]
            softened.append([each / sum(exponentials) for each in exponentials])
        divergence = sum(p * math.log(p / q) for q, p in zip(*softened, strict=True))
        total += (statistics.stdev(teacher_row) * norm) ** 2 * divergence
    return total / len(zs)


@pytest.mark.parametrize(("norm", "known"), [(1, 6.224371), (2, 7.007965)])
def test_each_image_has_its_own_temperature(golden: Golden, norm: float, known: float) -> None:
    value = restated(golden.zs, golden.zt, norm)
    assert value == pytest.approx(known, abs=1e-6)
    assert NormKD()(golden.student, golden.teacher, golden.labels, norm).item() == pytest.approx(value, rel=1e-5)


def test_only_the_teachers_range_counts(golden: Golden) -> None:
    plain = NormKD()(golden.student, golden.teacher, golden.labels, 2).item()
    wide = Outputs(torch.tensor(7 * golden.zs + 3))
    assert NormKD()(wide, golden.teacher, golden.labels, 2).item() == pytest.approx(plain, rel=1e-5)
    wide = Outputs(torch.tensor(7 * golden.zt + 3))
    assert NormKD()(golden.student, wide, golden.labels, 2).item() == pytest.approx(49 * plain, rel=1e-5)
    assert NormKD()(wide, golden.teacher, golden.labels, 2).item() == pytest.approx(0, abs=1e-9)


def test_gradient_is_that_of_differences(golden: Golden) -> None:
    student = torch.tensor(golden.zs, requires_grad=True)
    NormKD()(Outputs(student), golden.teacher, golden.labels, 2).backward()
    assert student.grad is not None
    for row, column in ((0, 0), (1, 3), (3, 4)):
        ends = []
        for step in (1e-5, -1e-5):
            moved = golden.zs.copy()
            moved[row, column] += step
            ends.append(restated(moved, golden.zt, 2))
        assert student.grad[row, column].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)
