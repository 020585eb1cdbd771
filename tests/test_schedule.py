"""Learning-rate schedules, held against PyTorch's own and against formulas."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from kd_runner.schedule import Constant, Cosine, OneCycle, Plateau, Restarts, Steps

STEPS = 60


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1)], lr=1.0)


def rates(make) -> list[float]:
    """The rates of a scheduler of PyTorch at each step, for a base rate of 1."""
    sgd = optimizer()
    scheduler, values = make(sgd), []
    for _ in range(STEPS):
        values.append(sgd.param_groups[0]["lr"])
        sgd.step()
        if len(values) < STEPS:
            scheduler.step()
    return values


def test_cosine_warms_up_and_ends_at_its_floor() -> None:
    schedule = Cosine(warmup=0.2, floor=0.1)
    assert schedule(0) == 0.01
    assert schedule(0.1) == pytest.approx(0.505)
    assert schedule(0.2) == pytest.approx(1)
    assert schedule(0.6) == pytest.approx(0.55)
    assert schedule(1) == pytest.approx(0.1)
    assert Cosine(warmup=1)(1) == 0


@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        (Constant(0.2, 0.1), lambda sgd: lr_scheduler.ConstantLR(sgd, 1.0)),
        (Cosine(0.2, 0.05, 0.1), lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, 48, 0.05)),
        (Plateau(warmup=0.2, warmup_start=0.1), lambda sgd: lr_scheduler.ConstantLR(sgd, 1.0)),
        (Restarts(0.25, 2, 0.1, 0.2, 0.1), lambda sgd: lr_scheduler.CosineAnnealingWarmRestarts(sgd, 12, 2, 0.1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_warm_up_is_pytorch_s_linear_one_before_its_own_schedule(schedule, after) -> None:
    def both(sgd: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        warm_up = lr_scheduler.LinearLR(sgd, 0.1, total_iters=12)
        return lr_scheduler.SequentialLR(sgd, [warm_up, after(sgd)], [12])

    assert [schedule(step / STEPS) for step in range(STEPS)] == pytest.approx(rates(both), abs=1e-7)


@pytest.mark.parametrize(("first", "growth"), [(10, 1), (5, 2), (4, 3), (60, 1)])
def test_restarts_are_pytorch_s(first: int, growth: int) -> None:
    expected = rates(lambda sgd: lr_scheduler.CosineAnnealingWarmRestarts(sgd, first, growth, eta_min=0.01))
    schedule = Restarts(first / STEPS, growth, 0.01)
    assert [schedule(step / STEPS) for step in range(STEPS)] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("share", [0.3, 0.05, 0.9])
def test_one_cycle_is_pytorch_s(share: float) -> None:
    expected = rates(
        lambda sgd: lr_scheduler.OneCycleLR(
            sgd, 1.0, STEPS, pct_start=share, div_factor=10, final_div_factor=100, cycle_momentum=False
        )
    )
    schedule = OneCycle(share, 10, 100)
    assert [schedule.at_step(step, STEPS) for step in range(STEPS)] == pytest.approx(expected, rel=1e-9)
    assert [schedule(place) for place in (0, share, 1)] == pytest.approx([0.1, 1, 0.001])
    assert schedule.at_step(0, 1) > 0  # a stage of one step


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_plateau_reduces_when_pytorch_s_does(metric: str) -> None:
    values = [0.5, 0.4, 0.41, 0.4, 0.39, 0.39, 0.6, 0.7, 0.7, 0.7, 0.3, 0.2, 0.25, 0.25, 0.25]
    sgd = optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        sgd, "min" if metric == "val_loss" else "max", 0.5, 1, threshold=1e-3, cooldown=1, min_lr=0.1
    )
    schedule = Plateau(metric, 0.5, 1, 1e-3, 1, 0.1)  # type: ignore[arg-type]
    factors = []
    for count, value in enumerate(values, 1):
        scheduler.step(value)
        factors.append(sgd.param_groups[0]["lr"])
        assert schedule.after([{metric: value} for value in values[:count]]) == factors[-1]
    assert min(factors) == 0.1
    assert len(set(factors)) > 2


def test_steps_of_the_published_recipe() -> None:
    schedule = Steps([0.625, 0.75, 0.875])
    factors = [schedule(epoch / 240) for epoch in (0, 149, 150, 179, 180, 209, 210, 239)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert Steps([0.5], warmup=0.1, warmup_start=0.2)(0.05) == pytest.approx(0.6)


def test_constant() -> None:
    assert Constant()(0.3) == 1


def test_refuses_epochs_where_shares_are_wanted() -> None:
    with pytest.raises(ValueError, match="milestones must be a share of the stage between 0 and 1, got 150"):
        Steps([150, 180])
    with pytest.raises(ValueError, match="factor must be above 0, got 0"):
        Steps([0.5], factor=0)
    with pytest.raises(ValueError, match="warmup must be a share"):
        Cosine(warmup=5)
    with pytest.raises(ValueError, match="warmup_start must be a factor between 0 and 1, got 2"):
        Constant(warmup_start=2)
    with pytest.raises(ValueError, match="pct_start must be above 0 and below 1, got 1"):
        OneCycle(pct_start=1)
    with pytest.raises(ValueError, match="first must be a share of the stage above 0 and at most 1, got 30"):
        Restarts(first=30)
    with pytest.raises(ValueError, match="factor must be above 0 and below 1, got 10"):
        Plateau(factor=10)
