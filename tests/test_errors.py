"""Exit codes, and errors in one line."""

from __future__ import annotations

import json
import re

import pytest
import torch

from kd_runner.datasets.splits import Split, cut
from kd_runner.errors import (
    FULL_ERROR,
    ONE_LINE,
    Answer,
    RunFailed,
    SettingsError,
    code_error,
    exit_code_of,
    one_line,
    raise_errors_of_hydra,
    traceback_of,
    traceback_remedy,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [(SettingsError("x"), 2), (RunFailed("x"), 1), (ValueError("x"), None), (Answer("x"), None), (KeyError(), None)],
)
def test_errors_that_a_person_can_mend_have_an_exit_code(error: Exception, code: int | None) -> None:
    assert exit_code_of(error) == code


def test_an_error_in_one_line_is_never_empty() -> None:
    assert one_line(ValueError("a\n  b\n")) == "a b"
    assert one_line(MemoryError()) == "MemoryError"


def own() -> None:
    json.loads("{")


def test_an_error_of_other_peoples_code_has_its_type_and_place() -> None:
    """The place is the last one in the person's own code, also where a library raised the error."""
    with pytest.raises(json.JSONDecodeError) as raised:
        own()
    shown = code_error(raised.value)
    assert shown.startswith("JSONDecodeError: Expecting property name")
    assert shown.endswith(f" ({__file__}:{own.__code__.co_firstlineno + 1}, in own)")
    with pytest.raises(AssertionError) as failed:
        raise AssertionError
    assert re.fullmatch(rf"AssertionError \({re.escape(__file__)}:\d+, in \w+\)", code_error(failed.value))


def test_a_message_of_ours_stands_alone() -> None:
    split = Split(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="val_fraction") as raised:
        cut(split, 2.0, 0, "val_fraction")
    error = raised.value.with_traceback(raised.tb.tb_next)  # without the test, which called it
    assert code_error(error) == str(error)


def test_the_traceback_is_shown_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(json.JSONDecodeError) as raised:
        own()
    error, without_place = SettingsError(f"distillation: {code_error(raised.value)}"), RunFailed("the disk is full")
    error.__cause__ = without_place.__cause__ = raised.value
    monkeypatch.delenv(ONE_LINE, raising=False)
    monkeypatch.delenv(FULL_ERROR, raising=False)
    raise_errors_of_hydra()
    raise_errors_of_hydra()  # as a process does that this one starts
    assert traceback_of(error) == ""
    assert traceback_remedy(error) == "; HYDRA_FULL_ERROR=1 in front of the command shows the traceback"
    assert traceback_remedy(without_place) == ""
    monkeypatch.delenv(ONE_LINE)
    raise_errors_of_hydra()
    shown = traceback_of(error)
    assert traceback_remedy(error) == ""
    assert shown.startswith("Traceback")
    assert shown.splitlines()[-1].startswith("json.decoder.JSONDecodeError")
    assert f'"{__file__}", line {own.__code__.co_firstlineno + 1}, in own' in shown
