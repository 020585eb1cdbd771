"""Class attention transfer against sums of float64 numbers, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from class_map_cases import example, network
from feature_cases import LABELS, MS, MT, halved, numpy_of
from torch import nn

from kd_runner.distillation.catkd import CATKD
from kd_runner.outputs import Outputs


def looks(maps: np.ndarray, weight: np.ndarray) -> list[list[float]]:
    """For each image and class, the four quarters of its class map, scaled to length 1."""
    result = []
    half = maps.shape[2] // 2
    for image in maps:
        for of_class in weight:
            quarters = []
            for row in (0, half):
                for column in (0, half):
                    part = image[:, row : row + half, column : column + half]
                    quarters.append(sum(w * float(c.mean()) for w, c in zip(of_class, part, strict=True)))
            length = math.sqrt(sum(each**2 for each in quarters))
            result.append([each / length for each in quarters])
    return result


def restated(student: np.ndarray, teacher: np.ndarray, weights: list[np.ndarray]) -> float:
    pairs = zip(looks(student, weights[0]), looks(teacher, weights[1]), strict=True)
    squares = [(a - b) ** 2 for s, t in pairs for a, b in zip(s, t, strict=True)]
    return sum(squares) / len(squares)


def ready(student: np.ndarray, teacher: np.ndarray, resolution: int = 2) -> tuple[CATKD, list[nn.Linear]]:
    mode, pair = CATKD(resolution), (network(student, True), network(teacher, True))
    mode.adapt(example(*pair))
    return mode, [pair[0][0], pair[1][0]]


def loss_of(mode: CATKD, student: torch.Tensor | np.ndarray, teacher: np.ndarray) -> torch.Tensor:
    given = (Outputs(torch.zeros(4, 5), {"last": torch.as_tensor(each)}) for each in (student, teacher))
    return mode(*given, LABELS, 4)


@pytest.mark.parametrize("student", [MS, halved(MS)], ids=["same size", "half the size"])
def test_is_the_distance_of_normalised_class_maps(student: np.ndarray) -> None:
    mode, heads = ready(student, MT)
    value = restated(student, MT, [numpy_of(head.weight) for head in heads])
    assert value == pytest.approx(0.538766, abs=1e-6)  # quarters are averages either way
    assert loss_of(mode, student, MT).item() == pytest.approx(value, rel=1e-6)


def test_is_zero_where_the_class_maps_differ_by_a_factor() -> None:
    mode, _ = ready(MT, MT)
    assert loss_of(mode, 30 * MT, MT).item() == pytest.approx(0, abs=1e-12)
    assert loss_of(mode, -MT, MT).item() == pytest.approx(1, rel=1e-6)  # twice a vector of length 1, over four places


def test_gradient_is_that_of_differences() -> None:
    mode, heads = ready(MS, MT)
    student = torch.tensor(MS, requires_grad=True)
    loss_of(mode, student, MT).backward()
    ends = []
    for step in (1e-5, -1e-5):
        moved = MS.copy()
        moved[2, 1, 3, 0] += step
        ends.append(loss_of(mode, moved, MT).item())
    assert student.grad is not None
    assert student.grad[2, 1, 3, 0].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)
    assert heads[0].weight.grad is not None


def test_a_network_without_a_map_of_places_is_refused() -> None:
    with pytest.raises(ValueError, match="must have maps of more than one pixel from the teacher, the last have one"):
        ready(MS, MT[:, :, :1, :1])
    with pytest.raises(ValueError, match="resolution must be 2 or more, got 1"):
        CATKD(resolution=1)


def test_maps_smaller_than_the_resolution_are_compared_as_they_are() -> None:
    small, large = ready(halved(MS), MT, 4), ready(halved(MS), MT, 2)
    assert loss_of(small[0], halved(MS), MT).item() == pytest.approx(loss_of(large[0], halved(MS), MT).item(), rel=1e-9)
