"""Numbers and names as people read them."""

from __future__ import annotations

import pytest

from kd_runner.formats import (
    bare_percent,
    clock,
    count,
    cut_end,
    cut_middle,
    four_digits,
    number_of,
    percent,
    points,
    roughly_relative,
    short_count,
    short_percent,
    size,
    stopwatch,
    times,
)


def test_shares_and_numbers_of_things() -> None:
    assert (percent(0.93254), percent(0.93254, 1), percent(1.0, 0)) == ("93.25 %", "93.3 %", "100 %")
    assert (bare_percent(0.93254), bare_percent(0.0)) == ("93.25", "0.00")
    assert (points(0.0125), points(-0.5)) == ("+1.25", "-50.00")
    assert [points(difference) for difference in (0.0, -0.0, -1e-5, 1e-5, -6e-5)] == ["+0.00"] * 4 + ["-0.01"]
    assert (count(1234.0), count(0)) == ("1,234", "0")


def test_one_thing_is_no_several_things() -> None:
    texts = [number_of(number, "job") for number in (0, 1, 2, 1234)]
    assert texts == ["0 jobs", "1 job", "2 jobs", "1,234 jobs"]
    assert [number_of(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_an_unknown_number_is_a_dash_or_what_the_caller_wants() -> None:
    assert [text(None) for text in (percent, bare_percent, points, count, four_digits, clock)] == ["–"] * 6
    assert [text(None, unknown="") for text in (percent, bare_percent, count, four_digits)] == [""] * 4


def test_short_counts() -> None:
    assert [short_count(value) for value in (7, 1_000, 1_234_567, 2.5e9)] == ["7", "1k", "1.23M", "2.5G"]


def test_short_percentages() -> None:
    shares = (0, 1, 0.123, 0.00456, 0.00001)
    texts = [short_percent(share) for share in shares]
    assert texts == [f"{number}\u00a0%" for number in ("0", "100", "12", "0.5", "<0.01")]


def test_large_numbers_are_short() -> None:
    numbers = (0.12345, 999_999.0, 1.5e16, float("inf"))
    assert [four_digits(number) for number in numbers] == ["0.1235", "999999.0000", "1.5e+16", "inf"]


@pytest.mark.parametrize(
    ("seconds", "words", "digits"),
    [(0.25, "0.25 s", "0:00"), (59, "59 s", "0:59"), (200, "3 min 20 s", "3:20"), (18440, "5 h 07 min", "5:07:20")],
)
def test_times_in_words_and_as_on_a_stopwatch(seconds: float, words: str, digits: str) -> None:
    assert clock(seconds) == words
    assert stopwatch(seconds) == digits


@pytest.mark.parametrize(
    ("longest", "end", "middle"),
    [(1, "…", "…"), (2, "a…", "a…"), (3, "ab…", "a…h"), (6, "abcde…", "abc…gh"), (7, "abcdef…", "abcd…gh")],
)
def test_a_long_name_is_cut_to_its_length(longest: int, end: str, middle: str) -> None:
    assert (cut_end("abcdefgh", longest), cut_middle("abcdefgh", longest)) == (end, middle)


def test_a_name_that_fits_is_whole() -> None:
    for cut in (cut_end, cut_middle):
        assert [cut(name, 3) for name in ("", "cat")] == ["", "cat"]


def test_multiples() -> None:
    assert [times(value) for value in (None, 1.0, 3.24, 9.96, 1234.5)] == ["", "1.0", "3.2", "10", "1,234"]


@pytest.mark.parametrize(
    ("number", "reference", "text"),
    [
        (1, 36.8, "about 37 times faster"),
        (1, 103.04, "about 100 times faster"),
        (1, 2.26, "about 2.3 times faster"),
        (3, 2, "about 1.5 times slower"),
        (1, 1.04, "about as fast"),
        (2, 2, "about as fast"),
    ],
)
def test_what_was_measured_badly_has_two_digits(number: float, reference: float, text: str) -> None:
    assert roughly_relative(number, reference, "faster", "slower", "as fast") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (9_999, "9,999 bytes"),
        (214_800, "214.8 kB"),
        (999_999, "1.0 MB"),
        (999_999_999, "1.0 GB"),
        (None, "–"),
    ],
)
def test_sizes_are_rounded_before_their_unit_is_chosen(number: float | None, text: str) -> None:
    assert size(number) == text
