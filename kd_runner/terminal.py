"""Text for a terminal: tables that fit its width, and a live view that lines on the way do not tear."""

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

FOLDED = 28  # the width down to which a text column is folded before another column goes


@dataclass(frozen=True)
class TextColumn:
    """A column of a table.

    Args:
        keep: Where not all columns fit, those with the least go first.
        folds: It holds text, which may go over several lines, and not numbers.
    """

    heading: str
    cells: Sequence[str]
    keep: int = 100
    folds: bool = False

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.heading, *self.cells))


def table_lines(columns: Sequence[TextColumn], width: int | None) -> tuple[list[str], list[str]]:
    """The lines of a table, and the headings of the columns that `width` has no room for; None: it has for all."""

    def needed_width() -> int:
        return 3 * len(kept) - 1 + sum(min(each.width, FOLDED) if each.folds else each.width for each in kept)

    kept, left_out = list(columns), []
    while width is not None and needed_width() > width and len(kept) > 2:
        least = min(kept, key=lambda column: column.keep)
        kept.remove(least)
        left_out.append(least.heading)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in kept:
        justify, overflow = ("left", "fold") if column.folds else ("right", "ellipsis")
        table.add_column(column.heading, justify=justify, no_wrap=not column.folds, overflow=overflow)  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*map(escape, row))
    whole = 3 * len(kept) + sum(column.width for column in kept)
    text = io.StringIO()
    Console(file=text, width=min(whole, width or whole), color_system=None).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()], left_out


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it is none."""
    return Console().width if sys.stdout.isatty() else None


def fold_text(text: str, width: int | None) -> str:
    """`text` folded at words to `width` columns; None: as it is."""
    return (
        text if width is None else "\n".join(textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False))
    )


@contextmanager
def lines_above(view: Live | Progress) -> Iterator[None]:
    """Show `view`, with log lines going above it: to what it puts in the place of sys.stdout, not through it."""
    real = sys.stdout
    root = logging.getLogger()
    handlers = [each for each in root.handlers if isinstance(each, logging.StreamHandler) and each.stream is real]
    with view:
        for handler in handlers:
            handler.setStream(sys.stdout)
        try:
            yield
        finally:
            for handler in handlers:
                handler.setStream(real)


LARGE = 1e6  # numbers from here on are written as 1.5e+16


def nats(value: float) -> str:
    """A number of nats, which has no upper end, in a text of a few digits."""
    return f"{value:.4f}" if abs(value) < LARGE else f"{value:.1e}"
