from __future__ import annotations

import pytest

from kd_runner.schedule import Constant, Cosine, Steps


def test_cosine_warms_up_and_ends_at_its_floor() -> None:
    schedule = Cosine(warmup=0.2, floor=0.1)
    assert schedule(0) == 0
    assert schedule(0.1) == pytest.approx(0.5)
    assert schedule(0.2) == pytest.approx(1)
    assert schedule(0.6) == pytest.approx(0.55)
    assert schedule(1) == pytest.approx(0.1)
    assert Cosine(warmup=1)(1) == 0


def test_steps_of_the_published_recipe() -> None:
    schedule = Steps([0.625, 0.75, 0.875])
    factors = [schedule(epoch / 240) for epoch in (0, 149, 150, 179, 180, 209, 210, 239)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_constant() -> None:
    assert Constant()(0.3) == 1


def test_refuses_epochs_where_shares_are_wanted() -> None:
    with pytest.raises(ValueError, match="milestones must be a share of the stage between 0 and 1, got 150"):
        Steps([150, 180])
    with pytest.raises(ValueError, match="factor must be above 0, got 0"):
        Steps([0.5], factor=0)
    with pytest.raises(ValueError, match="warmup must be a share"):
        Cosine(warmup=5)
