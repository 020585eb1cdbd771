"""Notes: lines about data or settings that were converted, left out, chosen or replaced, for the log and the report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kd_runner.plain_text import printable

log = logging.getLogger(__name__)


def note(topic: str, text: str) -> None:
    """Log one line at WARNING, once for every collection of notes.

    Args:
        topic: The subject of the line: 'data', 'teacher', 'student', 'settings' or another word of up to 9 letters.
        text: One sentence that says what happened, how often and where, and names the setting that changes it.
    """
    line = printable(" ".join(text.split()))
    collections = [handler.notes for handler in log.handlers if isinstance(handler, _Collector)]
    is_repeated = any(line in notes for notes in collections)
    for notes in collections:
        if line not in notes:
            notes.append(line)
    if not is_repeated:
        log.warning("%-9s %s", topic, line)


class _Collector(logging.NullHandler):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """The notes of the block, in their order, each once; the list grows while the block runs."""
    collector = _Collector()
    log.addHandler(collector)
    try:
        yield collector.notes
    finally:
        log.removeHandler(collector)
