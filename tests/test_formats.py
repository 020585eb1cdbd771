"""Numbers as people read them."""

from __future__ import annotations

import pytest

from kd_runner.formats import clock, count, percent, points, stopwatch


def test_shares_and_numbers_of_things() -> None:
    assert (percent(0.93254), percent(0.93254, 1), percent(1.0, 0)) == ("93.25 %", "93.3 %", "100 %")
    assert (points(0.0125), points(-0.5)) == ("+1.25", "-50.00")
    assert count(1234.0) == "1,234"
    assert [function(None) for function in (percent, points, count, clock)] == ["–"] * 4


@pytest.mark.parametrize(
    ("seconds", "words", "digits"),
    [(0.25, "0.25 s", "0:00"), (59, "59 s", "0:59"), (200, "3 min 20 s", "3:20"), (18440, "5 h 07 min", "5:07:20")],
)
def test_times_in_words_and_as_on_a_stopwatch(seconds: float, words: str, digits: str) -> None:
    assert clock(seconds) == words
    assert stopwatch(seconds) == digits
