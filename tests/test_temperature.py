from __future__ import annotations

import pytest

from kd_runner.temperature import Constant, Cosine, Linear


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
