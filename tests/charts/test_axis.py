"""Axes of charts: a few round values inside their range."""

from __future__ import annotations

import pytest

from kd_runner.charts.axis import Axis


@pytest.mark.parametrize(("low", "high"), [(0.0, 100.0), (97.1, 97.9), (81.0, 95.0), (3.0, 3.0)])
def test_an_axis_has_a_few_round_values_in_its_range(low: float, high: float) -> None:
    axis = Axis.around([low, high])
    assert 3 <= len(axis.ticks) <= 12
    assert all(0 <= place <= 100 for place, _ in axis.ticks)
    assert all(axis.at(float(text)) == pytest.approx(place, abs=0.01) for place, text in axis.ticks)
    assert 0 < axis.at(low) <= axis.at(high) < 100


def test_a_logarithmic_axis() -> None:
    axis = Axis.around([1_000, 2_000_000], logarithmic=True)
    assert [text for _, text in axis.ticks] == ["1k", "10k", "100k", "1M"]
    assert axis.at(31_623) - axis.at(3_162) == pytest.approx(axis.at(316_228) - axis.at(31_623), abs=0.02)
