"""Exit codes, and errors in one line."""

from __future__ import annotations

import pytest

from kd_runner.errors import Answer, RunFailed, SettingsError, exit_code_of, one_line


@pytest.mark.parametrize(
    ("error", "code"),
    [(SettingsError("x"), 2), (RunFailed("x"), 1), (ValueError("x"), None), (Answer("x"), None), (KeyError(), None)],
)
def test_errors_that_a_person_can_mend_have_an_exit_code(error: Exception, code: int | None) -> None:
    assert exit_code_of(error) == code


def test_an_error_in_one_line_is_never_empty() -> None:
    assert one_line(ValueError("a\n  b\n")) == "a b"
    assert one_line(MemoryError()) == "MemoryError"
