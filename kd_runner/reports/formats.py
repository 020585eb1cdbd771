"""Numbers as people read them."""

from __future__ import annotations


def short_count(value: float) -> str:
    """1,234,567 as 1.23M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def number_or_text(value: str) -> tuple[int, float, str]:
    """What values of a setting are sorted by: numbers by what they are worth, then the others."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
