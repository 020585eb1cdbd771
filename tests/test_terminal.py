"""Tables that fit a terminal, folded text, and log lines above a live view."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.progress import Progress

from kd_runner.terminal import TextColumn, fold_text, lines_above, table_lines, terminal_width

COLUMNS = [
    TextColumn("student", ["distillation=soft with long words", "b"], folds=True),
    TextColumn("accuracy", ["97.00 %", "9.00 %"]),
    TextColumn("seconds", ["12", "3"], keep=1),
]


def test_a_table_as_wide_as_it_is() -> None:
    lines, left_out = table_lines(COLUMNS, None)
    assert left_out == []
    assert lines[0].split() == ["student", "accuracy", "seconds"]
    assert lines[2].split() == ["distillation=soft", "with", "long", "words", "97.00", "%", "12"]
    assert lines[3].endswith("  9.00 %         3")


def test_text_is_folded_before_the_lowest_column_is_left_out() -> None:
    lines, left_out = table_lines(COLUMNS, 55)
    assert left_out == []
    assert max(map(len, lines)) <= 55
    assert len(lines) == 5  # the first row takes two
    lines, left_out = table_lines(COLUMNS, 40)
    assert left_out == ["seconds"]
    assert "12" not in "".join(lines)


def test_markup_in_a_cell_is_text() -> None:
    lines, _ = table_lines([TextColumn("a", ["[red]x[/red]"]), TextColumn("b", ["1"])], None)
    assert lines[-1].split() == ["[red]x[/red]", "1"]


def test_text_is_folded_between_words() -> None:
    text = "kd-runner resume=outputs/runs/very-long-name done"
    assert fold_text(text, 12).splitlines() == ["kd-runner", "resume=outputs/runs/very-long-name", "done"]
    assert fold_text(text, None) == text


def test_a_pipe_has_no_width(capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal_width() is None


def test_a_logs_handler_writes_above_the_view_and_to_the_terminal_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    handler, other = logging.StreamHandler(terminal), logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    root.handlers += [handler, other]
    try:
        with lines_above(Progress()):
            assert handler.stream is sys.stdout
        assert handler.stream is terminal
        assert other.stream is not terminal
    finally:
        root.removeHandler(handler)
        root.removeHandler(other)
