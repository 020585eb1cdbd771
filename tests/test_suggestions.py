"""Suggestions for misspelt names."""

from __future__ import annotations

from kd_runner.suggestions import did_you_mean


def test_the_nearest_name_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("tempreture", iter(["temperature", "teacher"])) == " (did you mean temperature?)"
    assert did_you_mean("xyz", ["temperature", "teacher"]) == ""
    assert did_you_mean("xyz", []) == ""
