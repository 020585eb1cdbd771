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
    for collector in log.handlers:
        if isinstance(collector, _Collector):
            if line in collector.notes:
                return
            collector.notes.append(line)
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
