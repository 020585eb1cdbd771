"""Simple recipe distillation against sums of float64 numbers, one by one."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from feature_cases import FS, FT_, LABELS, MS, MT, adapted, loss_of, numpy_of, outputs

from kd_runner.distillation.srd import SRD


def normalised(columns: np.ndarray) -> list[list[float]]:
    """Each dimension less its mean over the batch, by its deviation: [C][N]."""
    result = []
    for column in columns.T.tolist():
        mean, variance = statistics.fmean(column), statistics.pvariance(column)
        result.append([(each - mean) / math.sqrt(variance + 1e-4) for each in column])
    return result


def restated(projected: np.ndarray, teacher: np.ndarray, power: float) -> float:
    pairs = zip(normalised(projected), normalised(teacher), strict=True)
    return math.log(sum(abs(a - b) ** power for s, t in pairs for a, b in zip(s, t, strict=True)))


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_is_the_logarithm_of_the_differences_powers(power: float) -> None:
    mode = adapted(SRD(power), [FS], [FT_])
    projected = FS @ numpy_of(mode.projector.weight).T
    assert loss_of(mode, [FS], [FT_]) == pytest.approx(restated(projected, FT_, power), rel=1e-9)
    averaged = MS.mean((2, 3)) @ numpy_of((wide := adapted(SRD(power), [MS], [MT])).projector.weight).T
    assert loss_of(wide, [MS], [MT]) == pytest.approx(restated(averaged, MT.mean((2, 3)), power), rel=1e-9)


def test_golden_value() -> None:
    mode = adapted(SRD(), [FT_], [FT_])
    with torch.no_grad():
        mode.projector.weight.copy_(torch.eye(8).roll(1, 0))
    assert restated(np.roll(FT_, 1, axis=1), FT_, 4) == pytest.approx(3.523611, abs=1e-6)
    assert loss_of(mode, [FT_], [FT_]) == pytest.approx(3.523611, abs=1e-6)


def test_gradient_is_that_of_differences_and_does_not_shrink_with_what_is_left() -> None:
    mode = adapted(SRD(), [FT_], [FT_])
    with torch.no_grad():
        mode.projector.weight.copy_(torch.eye(8))
    sizes = []
    for share in (1e-1, 1e-3):
        noise = np.sin(np.arange(32.0)).reshape(4, 8)
        student = torch.tensor(FT_ + share * noise, requires_grad=True)
        mode(outputs(student), outputs(FT_), LABELS, 4).backward()
        assert student.grad is not None
        step = np.zeros((4, 8))
        step[2, 5] = share * 1e-4
        ends = [loss_of(mode, [numpy_of(student) + sign * step], [FT_]) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (share * 2e-4)
        assert student.grad[2, 5].item() == pytest.approx(slope, rel=1e-3)
        sizes.append(share * student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


def test_silent_layers_have_a_finite_loss_and_no_gradient() -> None:
    mode = adapted(SRD(), [FS], [FT_])
    student = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    loss = mode(outputs(student), outputs(np.zeros((4, 8))), LABELS, 4)
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert student.grad.abs().max() == 0


def test_refuses_a_power_that_is_none() -> None:
    with pytest.raises(ValueError, match="power must be above 0, got 0"):
        SRD(power=0)
