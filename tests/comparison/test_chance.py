"""Shares against chance, beside SciPy's own tests."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from kd_runner.comparison.chance import largest_class, p_of_at_least, p_of_difference, share_of


def test_the_largest_class_and_its_share() -> None:
    assert largest_class(torch.tensor([2, 0, 2, 1])) == (2, 0.5)


def test_a_share_of_right_answers() -> None:
    assert share_of(torch.tensor([True, False, True, True])) == 0.75


def test_a_difference_is_mcnemars_test() -> None:
    first = torch.tensor([True] * 9 + [False] * 3 + [True] * 5)
    second = torch.tensor([False] * 9 + [True] * 3 + [True] * 5)
    assert p_of_difference(first, second) == pytest.approx(stats.binomtest(3, 12).pvalue)
    assert p_of_difference(second, first) == p_of_difference(first, second)
    assert p_of_difference(first, first) == 1.0


@pytest.mark.parametrize(("hits", "images", "share"), [(0, 10, 0.5), (7, 10, 0.5), (30, 100, 0.1), (10, 10, 0.9)])
def test_so_many_hits_or_more_is_the_binomial_tail(hits: int, images: int, share: float) -> None:
    wanted = stats.binom.sf(hits - 1, images, share)
    assert p_of_at_least(hits, images, share) == pytest.approx(wanted)
