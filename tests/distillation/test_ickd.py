"""Inter-channel correlations against sums of float64 numbers, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from feature_cases import MS, MT, adapted, halved, loss_of, numpy_of, outputs

from kd_runner.distillation.ickd import ICKD, channel_correlations


def restated_correlations(image: np.ndarray) -> list[list[float]]:
    """Of one image's maps [C, H, W]."""
    rows = []
    for first in image:
        row = [sum(a * b for a, b in zip(first.flat, second.flat, strict=True)) for second in image]
        length = math.sqrt(sum(each**2 for each in row))
        rows.append([each / length for each in row])
    return rows


def restated(student: np.ndarray, teacher: np.ndarray) -> float:
    total = 0.0
    for student_image, teacher_image in zip(student, teacher, strict=True):
        pairs = zip(restated_correlations(student_image), restated_correlations(teacher_image), strict=True)
        for student_row, teacher_row in pairs:
            total += sum((a - b) ** 2 for a, b in zip(student_row, teacher_row, strict=True))
    return total / (len(teacher) * teacher.shape[1])


@pytest.mark.parametrize("student", [MS, halved(MS)], ids=["same size", "half the size"])
def test_is_the_distance_of_the_channels_correlations(student: np.ndarray) -> None:
    mode = adapted(ICKD(), [student], [MT])
    embedded = numpy_of(mode.embedding(torch.tensor(student)))
    assert embedded.shape[1] == MT.shape[1]
    assert loss_of(mode, [student], [MT]) == pytest.approx(restated(embedded, MT), rel=1e-6)


def test_golden_value_without_the_embedding() -> None:
    other = np.roll(MT, 5, axis=1) + 0.3
    value = restated(other, MT)
    assert value == pytest.approx(1.049633, abs=1e-6)
    difference = channel_correlations(torch.tensor(other)) - channel_correlations(torch.tensor(MT))
    assert difference.square().sum().item() / 24 == pytest.approx(value, rel=1e-6)


def test_is_zero_where_the_embedded_student_is_the_teacher_in_any_range() -> None:
    mode = adapted(ICKD(), [MT], [MT])
    mode.embedding = torch.nn.Identity()
    scaled = MT * np.array([0.1, 1, 7, 300])[:, None, None, None]
    assert loss_of(mode, [scaled], [MT]) == pytest.approx(0, abs=1e-12)


def test_gradient_is_that_of_differences() -> None:
    mode = adapted(ICKD(), [MS], [MT])
    student = torch.tensor(MS, requires_grad=True)
    mode(outputs(student), outputs(MT), torch.zeros(4), 4).backward()
    assert student.grad is not None
    ends = []
    for step in (1e-5, -1e-5):
        moved = MS.copy()
        moved[1, 2, 0, 3] += step
        ends.append(loss_of(mode, [moved], [MT]))
    assert student.grad[1, 2, 0, 3].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-8)
