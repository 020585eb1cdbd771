"""The clock of a run: its own seconds, where several runs take turns in one process."""

from __future__ import annotations

import time
from contextvars import ContextVar

_left_out: ContextVar[float] = ContextVar("left_out", default=0.0)


def run_seconds() -> float:
    """Seconds on a clock that stands still while other runs of the same process have their turn.

    Only differences between two readings of the same run mean something. A run that is alone in its process reads the
    clock of `time.perf_counter`.
    """
    return time.perf_counter() - _left_out.get()


def leave_out(seconds: float) -> None:
    """Set the clock of this run back by `seconds`, which other runs took; ahead where they are below 0."""
    _left_out.set(_left_out.get() + seconds)
