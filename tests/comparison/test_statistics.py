"""Intervals and tests beside SciPy's, and Holm's correction beside a textbook."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kd_runner.comparison.statistics import (
    deviation_of,
    holm_factors,
    interval,
    mean_of,
    sign_test,
    wilson_interval,
)


def test_the_interval_is_students() -> None:
    values = np.array([0.5, 0.6, 0.8])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert interval(values) == pytest.approx((high - low) / 2)
    assert math.isnan(interval(np.array([0.5])))


def test_means_and_deviations_are_those_of_numpy_to_the_bit() -> None:
    draw = np.random.default_rng(0)
    for count in (*range(1, 40), 128, 129, 1000):
        values = draw.normal(draw.normal(), 10.0 ** draw.integers(-9, 9), count)
        assert mean_of(values) == values.mean()
        assert deviation_of(values, 0) == values.std()
        if count > 1:
            assert deviation_of(values) == values.std(ddof=1)


@pytest.mark.parametrize(("better", "discordant"), [(0, 1), (1, 6), (5, 6), (3, 6), (40, 60)])
def test_the_sign_test_is_a_two_sided_binomial_test(better: int, discordant: int) -> None:
    assert sign_test(better, discordant) == pytest.approx(stats.binomtest(better, discordant).pvalue)


def test_without_a_difference_p_is_one() -> None:
    assert sign_test(0, 0) == 1.0


def test_holms_factors_are_the_number_of_rows_that_are_left() -> None:
    assert holm_factors([0.01, 0.04, 0.03, 0.005]) == pytest.approx([3, 1.5, 2, 4])
    assert holm_factors([0.04, 0.03]) == pytest.approx(
        [1.5, 2]
    )  # a higher p is never corrected to less than a lower one
    assert holm_factors([0.0, 0.9]) == [2, 1]
    assert holm_factors([]) == []


def test_an_interval_for_another_error_is_students() -> None:
    values = np.array([0.5, 0.6, 0.8])
    low, high = stats.t.interval(0.99, 2, values.mean(), stats.sem(values))
    assert interval(values, 0.01) == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(
    ("right", "images", "ends"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_intervals_are_those_of_newcombe(right: int, images: int, ends: tuple[float, float]) -> None:
    """Newcombe 1998, table I, method 3."""
    assert wilson_interval(right / images, images) == pytest.approx(ends, abs=5.1e-5)
    low, high = wilson_interval(1 - right / images, images)
    assert (1 - high, 1 - low) == pytest.approx(ends, abs=5.1e-5)
