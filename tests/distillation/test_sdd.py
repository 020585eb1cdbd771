"""Scale decoupled distillation against sums of float64 numbers, region by region."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from class_map_cases import example, network
from feature_cases import LABELS, MS, MT, numpy_of
from torch import nn

from kd_runner.distillation.sdd import SDD
from kd_runner.outputs import Outputs


def softened(logits: np.ndarray, temperature: float) -> list[float]:
    total = sum(math.exp(z / temperature) for z in logits)
    return [math.exp(z / temperature) / total for z in logits]


def of_region(maps: np.ndarray, head: nn.Linear, scale: int, row: int, column: int) -> np.ndarray:
    """Logits of one region of one image's maps [C, 4, 4]."""
    side = 4 // scale
    part = maps[:, row * side : (row + 1) * side, column * side : (column + 1) * side].mean((1, 2))
    return numpy_of(head.weight) @ part + numpy_of(head.bias)


def restated(
    student: np.ndarray, teacher: np.ndarray, heads: list[nn.Linear], scales: tuple[int, ...], weight: float
) -> tuple[float, int]:
    """(the loss at temperature 3, the number of complementary regions)."""
    terms, complementary = [], 0
    for image, label in enumerate(LABELS.tolist()):
        whole = of_region(teacher[image], heads[1], 1, 0, 0).argmax() == label
        for scale in scales:
            for row in range(scale):
                for column in range(scale):
                    zs = of_region(student[image], heads[0], scale, row, column)
                    zt = of_region(teacher[image], heads[1], scale, row, column)
                    differs = (zt.argmax() == label) != whole
                    complementary += int(differs)
                    pairs = zip(softened(zt, 3), softened(zs, 3), strict=True)
                    terms.append((weight if differs else 1) * sum(p * math.log(p / q) for p, q in pairs))
    return 9 * sum(terms) / len(terms), complementary


def ready(mode: SDD, averaged: bool = True) -> list[nn.Linear]:
    pair = network(MS, averaged), network(3 * MT, averaged)
    mode.adapt(example(*pair))
    return [pair[0][0], pair[1][0]]


def loss_of(mode: SDD, student: torch.Tensor | np.ndarray, teacher: np.ndarray) -> torch.Tensor:
    def given(maps: torch.Tensor | np.ndarray, head: nn.Linear) -> Outputs:
        features = torch.as_tensor(maps)
        return Outputs(head(features.mean((2, 3))), {"last": features})

    return mode(given(student, mode.student_maps.head), given(teacher, mode.teacher_maps.head), LABELS, 3)


@pytest.mark.parametrize(("scales", "known"), [((1,), 0.369561), ((1, 2, 4), 0.441301), ((1, 4), 0.438749)])
def test_is_the_divergence_of_regions(scales: tuple[int, ...], known: float) -> None:
    mode = SDD(scales, complementary_weight=2.5)
    value, complementary = restated(MS, 3 * MT, ready(mode), scales, 2.5)
    assert value == pytest.approx(known, abs=1e-6)
    assert (complementary > 0) == (scales != (1,))
    assert loss_of(mode, MS, 3 * MT).item() == pytest.approx(value, rel=1e-6)


def test_is_zero_where_the_regions_are_the_teachers_and_else_above() -> None:
    mode = SDD()
    mode.adapt(example(network(MT, True), network(MT, True)))
    assert loss_of(mode, MT, MT).item() == pytest.approx(0, abs=1e-12)
    swapped = MT[:, :, ::-1].copy()  # the same whole image
    assert loss_of(mode, swapped, MT).item() > 1e-4


def test_gradient_is_that_of_differences() -> None:
    mode = SDD()
    heads = ready(mode)
    student = torch.tensor(MS, requires_grad=True)
    loss_of(mode, student, 3 * MT).backward()
    ends = []
    for step in (1e-5, -1e-5):
        moved = MS.copy()
        moved[0, 2, 1, 1] += step
        ends.append(restated(moved, 3 * MT, heads, (1, 2, 4), 2)[0])
    assert student.grad is not None
    assert student.grad[0, 2, 1, 1].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("scales", [(2, 4), (0, 1)])
def test_refuses_scales_without_the_whole_image(scales: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="scales must hold whole numbers from 1 on, and 1 among them, got"):
        SDD(scales)
