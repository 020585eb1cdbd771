"""Temperatures over a stage, and the learned one: its range, and that it climbs the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from small_training import data, sgd, view
from torch import nn

from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant, Cosine, Learned, Linear
from kd_runner.training.distiller import Distiller
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher


def test_constant() -> None:
    assert [Constant(4)(progress) for progress in (0, 0.5, 1)] == [4, 4, 4]


def test_linear_and_cosine_go_from_start_to_end() -> None:
    for schedule in (Linear(8, 2), Cosine(8, 2)):
        assert schedule(0) == pytest.approx(8)
        assert schedule(0.5) == pytest.approx(5)
        assert schedule(1) == pytest.approx(2)
    assert Linear(8, 2)(0.25) == pytest.approx(6.5)
    assert Cosine(8, 2)(0.25) > 6.5  # slow at first


@pytest.mark.parametrize("value", [0, -2, 1e9, float("nan")])
def test_refuses_what_is_no_temperature(value: float) -> None:
    with pytest.raises(ValueError, match=r"value must be at least 0\.001 and at most 1000"):
        Constant(value)
    with pytest.raises(ValueError, match=r"end must be at least 0\.001 and at most 1000"):
        Linear(1, value)


def divergence(student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float) -> float:
    """KL(teacher || student), mean over the images."""
    student, teacher = softmax(student_logits / temperature), softmax(teacher_logits / temperature)
    return float((teacher * np.log(teacher / student)).sum(1).mean())


def test_learned_temperature_lies_in_its_range() -> None:
    assert Learned()(0.0).item() == pytest.approx(1 + 20 / (1 + math.exp(-1)), rel=1e-6)
    assert Learned(theta=0)(1.0).item() == pytest.approx(11)
    assert Learned(lowest=2, span=3, theta=-50)(0.5).item() == pytest.approx(2)
    assert Learned(lowest=2, span=3, theta=50)(0.5).item() == pytest.approx(5)


@pytest.mark.parametrize(
    ("progress", "strength"),
    [(0.0, 0.0), (0.01, 0.5 * (1 - math.sqrt(0.5))), (0.02, 0.5), (0.04, 1.0), (0.5, 1.0), (1.0, 1.0)],
)
def test_learned_temperature_climbs_the_distillation_loss(golden: Golden, progress: float, strength: float) -> None:
    def restated(theta: float) -> float:
        temperature = 1 + 20 / (1 + math.exp(-theta))
        return temperature**2 * divergence(golden.zs, golden.zt, temperature)

    slope = (restated(1e-4) - restated(-1e-4)) / 2e-4
    learned = Learned(theta=0.0)
    Soft()(golden.student, golden.teacher, golden.labels, learned(progress)).backward()
    assert learned.theta.grad is not None
    assert abs(slope) > 1e-3
    assert learned.theta.grad.item() == pytest.approx(-strength * slope, rel=1e-3, abs=1e-9)
    # A descending optimizer thereby moves to where the student finds it harder.
    if strength == 1:
        assert restated(-learned.theta.grad.item()) > restated(0.0)


def test_learned_temperature_leaves_the_students_gradient_as_it_is(golden: Golden) -> None:
    gradients = []
    for temperature in (Learned(theta=0.0)(1.0), 11.0):
        student = torch.tensor(golden.zs, requires_grad=True)
        Soft()(Outputs(student), golden.teacher, golden.labels, temperature).backward()
        gradients.append(student.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("ramp", [0.0, 0.5])
def test_learned_temperatures_ramp(ramp: float) -> None:
    learned = Learned(theta=0.0, ramp=ramp)
    learned(0.25).backward()
    assert learned.theta.grad is not None
    assert learned.theta.grad.item() == pytest.approx(-5 * (1.0 if ramp == 0 else 0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lowest": 0.0}, r"lowest must be at least 0\.001"),
        ({"span": -1.0}, r"span must be at least 0\.001"),
        ({"lowest": 900.0, "span": 200.0}, r"lowest \+ span must be at least 0\.001 and at most 1000, got 1100"),
        ({"ramp": 1.5}, r"ramp must be a share of the stage between 0 and 1, got 1\.5"),
    ],
)
def test_learned_temperature_refuses_other_ranges(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Learned(**settings)


def test_a_learned_temperature_trains_without_decay_and_is_not_the_students() -> None:
    learned = Learned()
    assert isinstance(learned.theta, nn.Parameter)
    student = nn.Linear(3, 2)
    distiller = Distiller(
        Observed(student),
        OnlineTeacher(Observed(nn.Linear(3, 2))),
        [Mode("soft", Soft(), 1.0)],
        1.0,
        learned,
        TrainingBatches(data(), view(), 8, seed=0),
        Recipe(sgd, ConstantRate(), 1, 0),
    )
    groups = [group for group in distiller.parameter_groups() if any(p is learned.theta for p in group["params"])]
    assert len(groups) == 1
    assert groups[0]["weight_decay"] == 0
    assert set(distiller.network.state_dict()) == {"weight", "bias"}
