"""Suggestions for misspelt names."""

from __future__ import annotations

import pytest

from kd_runner.suggestions import did_you_mean, number_meant


def test_the_nearest_name_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("tempreture", iter(["temperature", "teacher"])) == " (did you mean temperature?)"
    assert did_you_mean("xyz", ["temperature", "teacher"]) == ""
    assert did_you_mean("xyz", []) == ""


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *[("90%", "0.9"), ("0.5 %", "0.005"), ("0,001", "0.001"), ("-1,5e3", "-1.5e3"), ("1/4", "0.25")],
        *[("1/0", None), ("%", None), ("1,2,4", None), ("0.1", None), ("a%", None), (0.9, None), (None, None)],
    ],
)
def test_the_number_that_a_text_stands_for(value: object, number: str | None) -> None:
    assert number_meant(value) == number
