"""Names in files that anyone may have written, as messages show them."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str, length: int = 100) -> str:
    """A text from a file as one line: a file must not control the terminal of a person who reads a message."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def first_names(names: Sequence[str], count: int) -> str:
    """The first `count` of a file's names, and the number of the remaining ones."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(printable(name) for name in names[:count]) + more
