"""Notes: lines about data or settings that were converted, left out, chosen or replaced, for the log and the report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from kd_runner.plain_text import printable

log = logging.getLogger(__name__)


class Note(NamedTuple):
    """A note: its topic, and its sentence."""

    topic: str
    text: str


class _Collection:
    """The notes of a block, in their order, each once."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.texts: list[str] = []

    def add(self, note: Note) -> None:
        if note.text not in self.texts:
            self.notes.append(note)
            self.texts.append(note.text)


# The collections that are open; those of a thread are its own.
_open: ContextVar[tuple[_Collection, ...]] = ContextVar("open_collections", default=())


def note(topic: str, text: str) -> None:
    """Log one line at WARNING, once for every collection of notes.

    Args:
        topic: The subject of the line: 'data', 'teacher', 'student', 'settings' or another word of up to 9 letters.
        text: One sentence that says what happened, how often and where, and names the setting that changes it.
    """
    line = printable(" ".join(text.split()))
    is_repeated = any(line in collection.texts for collection in _open.get())
    for collection in _open.get():
        collection.add(Note(topic, line))
    if not is_repeated:
        log.warning("%-9s %s", topic, line)


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """The texts of the notes of the block, in their order, each once; the list grows while the block runs."""
    with _collection() as collection:
        yield collection.texts


@contextmanager
def recorded_notes() -> Iterator[list[Note]]:
    """The notes of the block, in their order, each once; the list grows while the block runs."""
    with _collection() as collection:
        yield collection.notes


@contextmanager
def _collection() -> Iterator[_Collection]:
    collection = _Collection()
    token = _open.set((*_open.get(), collection))
    try:
        yield collection
    finally:
        _open.reset(token)
