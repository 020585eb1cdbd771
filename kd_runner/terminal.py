"""Text for a terminal: tables that fit its width, and log lines above a live view."""

from __future__ import annotations

import io
import logging
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from kd_runner.plain_text import printable

PIPED = 120  # columns of a table where standard output is no terminal
FOLDED = 28  # the width to which a text column is folded before another column is left out


@dataclass(frozen=True)
class TextColumn:
    """A column of a table.

    Args:
        heading: The first line of the column.
        cells: The lines below the heading, one for each row.
        keep: The rank of the column; where not all columns fit, the one with the lowest rank is left out first.
        folds: True for a column of text, which may take several lines; False for numbers.
    """

    heading: str
    cells: Sequence[str]
    keep: int = 100
    folds: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", [printable(text) for text in self.cells])

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.heading, *self.cells))


def table_lines(columns: Sequence[TextColumn], width: int | None) -> tuple[list[str], list[str]]:
    """The lines of a table, and the headings of the columns that were left out.

    Args:
        width: Number of columns of the terminal; None where all columns of the table fit.
    """

    def needed_width() -> int:
        return 3 * len(shown) - 1 + sum(min(column.width, FOLDED) if column.folds else column.width for column in shown)

    shown, left_out = list(columns), []
    while width is not None and needed_width() > width and len(shown) > 2:
        least = min(shown, key=lambda column: column.keep)
        shown.remove(least)
        left_out.append(least.heading)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in shown:
        justify, overflow = ("left", "fold") if column.folds else ("right", "ellipsis")
        table.add_column(column.heading, justify=justify, no_wrap=not column.folds, overflow=overflow)  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(escape, row))
    full_width = 3 * len(shown) + sum(column.width for column in shown)
    text = io.StringIO()
    # In a notebook, a console would show the table there in place of writing it.
    room = min(full_width, width or full_width)
    Console(file=text, width=room, color_system=None, force_jupyter=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()], left_out


def is_terminal() -> bool:
    """True where standard output is a terminal, and not a file, a pipe, or closed."""
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # a program without standard output, or that has closed it
        return False


def terminal_width() -> int | None:
    """The number of columns of the terminal; None where standard output is no terminal."""
    return Console().width if is_terminal() else None


def fold_text(text: str, width: int | None) -> str:
    """`text` in lines of up to `width` columns, broken between words; in one line where `width` is None."""
    text = printable(text)
    if width is None:
        return text
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False))


@contextmanager
def lines_above(view: Live | Progress) -> Iterator[None]:
    """Show `view` during the block, and print log lines above it.

    The view replaces sys.stdout by a stream that prints above it; the log's handlers write to that.
    """
    terminal = sys.stdout
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is terminal
    ]
    with view:
        for handler in handlers:
            handler.setStream(sys.stdout)
        try:
            yield
        finally:
            for handler in handlers:
                handler.setStream(terminal)
