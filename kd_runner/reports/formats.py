"""Numbers as people read them."""

from __future__ import annotations


def number_or_text(value: str) -> tuple[int, float, str]:
    """A key to sort a setting's values by: numbers by their size, then texts as they come."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
