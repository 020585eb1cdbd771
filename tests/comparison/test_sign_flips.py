"""The exact test of paired images beside SciPy's binomial test and a count of all signs, and with its own interval."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from kd_runner.comparison.sign_flips import SignFlips


@pytest.mark.parametrize(("better", "worse"), [(0, 1), (6, 0), (3, 3), (1, 7), (40, 60), (2000, 0)])
def test_of_one_seed_it_is_mcnemars_with_the_interval_of_clopper_and_pearson(better: int, worse: int) -> None:
    flips, count = SignFlips(np.array([1] * better + [-1] * worse + [0] * 5)), better + worse
    wanted = stats.binomtest(better, count)
    assert flips.p == pytest.approx(wanted.pvalue)
    for error in (0.05, 0.002):
        share = wanted.proportion_ci(1 - error, "exact")
        assert flips.interval(error) == (
            pytest.approx(count * (2 * share.low - 1), abs=1e-6 * count),
            pytest.approx(count * (2 * share.high - 1), abs=1e-6 * count),
        )


def test_of_several_seeds_all_signs_are_counted() -> None:
    differences = np.array([3, 2, 2, 1, 1, -1, 0, 2])
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    sums = signs @ np.abs(differences)
    assert SignFlips(differences).p == pytest.approx((np.abs(sums) >= abs(differences.sum())).mean())
    assert SignFlips(-differences).p == SignFlips(differences).p


def test_the_interval_ends_where_the_test_of_tilted_signs_would_refuse() -> None:
    """At a tilt, an image that differs by k has the sign + with the chance 1 / (1 + exp(-2 tilt k))."""
    differences = np.array([3, 2, 2, 1, 1, -1, -1, 2, 1, 1])
    magnitudes = np.abs(differences)
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    sums = signs @ magnitudes

    def mean_and_tails(tilt: float) -> tuple[float, float, float]:
        chance = 1 / (1 + np.exp(-2 * tilt * magnitudes))
        weights = np.where(signs > 0, chance, 1 - chance).prod(1)
        at_least, at_most = (weights[sums >= differences.sum()].sum(), weights[sums <= differences.sum()].sum())
        return float(weights @ sums), float(at_least), float(at_most)

    tilts = np.linspace(-3, 6, 9001)
    low = next(mean for mean, at_least, _ in map(mean_and_tails, tilts) if at_least >= 0.025)
    high = next(mean for mean, _, at_most in map(mean_and_tails, tilts[::-1]) if at_most >= 0.025)
    assert SignFlips(differences).interval() == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_without_a_difference_nothing_is_sure() -> None:
    flips = SignFlips(np.zeros(10, int))
    assert (flips.p, flips.interval()) == (1.0, (0.0, 0.0))
