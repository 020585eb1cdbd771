"""Numbers as people read them."""

from __future__ import annotations


def number_or_text(value: str) -> tuple[int, float, str]:
    """A key to sort a setting's values by: numbers by their size, then texts as they come."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.2f}"


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def clock(seconds: float | None) -> str:
    """Seconds as 12 s, 3 min 20 s or 5 h 07 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60):02d} s"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
