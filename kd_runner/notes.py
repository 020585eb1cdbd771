"""Notes: one line each about what was converted, passed over, chosen or replaced, for the log and for the report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


def note(topic: str, text: str) -> None:
    """Log one line at WARNING, once for every collection of notes.

    Args:
        topic: What the line is about: 'data', 'teacher', 'student', 'settings' and the like, up to 9 letters.
        text: One sentence that names what happened, how often and where, and the setting that changes it.
    """
    line = " ".join(text.split())
    collections = [handler.notes for handler in log.handlers if isinstance(handler, _Collector)]
    known = any(line in notes for notes in collections)
    for notes in collections:
        if line not in notes:
            notes.append(line)
    if not known:
        log.warning("%-9s %s", topic, line)


class _Collector(logging.NullHandler):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """The texts of the notes that are made inside the block, in their order, each once."""
    collector = _Collector()
    log.addHandler(collector)
    try:
        yield collector.notes
    finally:
        log.removeHandler(collector)
