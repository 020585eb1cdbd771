"""Names that stand for Python objects."""

from __future__ import annotations

from kd_runner.config.given import give, given, is_name_of_given


def test_a_name_leads_to_what_was_given() -> None:
    give("given.len_0", len)
    assert given("given.len_0") is len
    assert is_name_of_given("given.anything")
    assert not is_name_of_given("my_package.given.x")
    assert not is_name_of_given(None)
