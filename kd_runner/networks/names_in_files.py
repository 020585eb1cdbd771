"""Names in files that anyone may have written, as messages show them."""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner import plain_text


def short_printable(text: str, length: int = 100) -> str:
    """A text from a file as one line of up to `length` letters."""
    return plain_text.printable(text, length)


def first_names(names: Sequence[str], count: int) -> str:
    """The first `count` of a file's names, and the number of the remaining ones."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(short_printable(name) for name in names[:count]) + more
