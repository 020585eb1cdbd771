"""Numbers as people read them, in the terminal, in notes and in reports; a value that is not known is a dash."""

from __future__ import annotations

UNKNOWN = "–"


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 1 in percent, such as 93.25 %."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def points(share: float | None) -> str:
    """A difference of shares of 1 in percentage points, with its sign, such as +1.25."""
    return UNKNOWN if share is None else f"{100 * share:+.2f}"


def count(value: float | None) -> str:
    """A number of things, such as 1,234."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def clock(seconds: float | None) -> str:
    """A time in words, such as 12 s, 3 min 20 s or 5 h 07 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60):02d} s"


def stopwatch(seconds: float) -> str:
    """A time as a stopwatch shows it, such as 3:20 or 5:07:20: of the same width from one second to the next."""
    minutes, rest_of_minute = divmod(int(seconds), 60)
    hours, rest_of_hour = divmod(minutes, 60)
    if hours:
        return f"{hours}:{rest_of_hour:02d}:{rest_of_minute:02d}"
    return f"{minutes}:{rest_of_minute:02d}"
