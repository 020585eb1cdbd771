"""Numbers and names as people read them, in the terminal, in notes and in reports; an unknown number is a dash."""

from __future__ import annotations

UNKNOWN = "–"
LARGE = 1e6  # numbers from here on are written as 1.5e+16


def percent(share: float | None, digits: int = 2, unknown: str = UNKNOWN) -> str:
    """A share in [0, 1] in percent, such as 93.25 %."""
    return unknown if share is None else f"{100 * share:.{digits}f} %"


def bare_percent(share: float | None, unknown: str = UNKNOWN) -> str:
    """A share in [0, 1] in percent without the sign, such as 93.25: for a column whose heading has the sign."""
    return unknown if share is None else f"{100 * share:.2f}"


def short_percent(share: float) -> str:
    """A share in [0, 1] in whole percent, and one below 1 % with one digit, such as 93 %, 0.5 % or <0.01 %.

    The space before the sign does not break, so that a chart keeps number and sign on one line.
    """
    percentage = 100 * share
    if percentage >= 1 or not percentage:
        return f"{percentage:.0f}\u00a0%"
    return f"{percentage:.1g}\u00a0%" if percentage >= 0.01 else "<0.01\u00a0%"


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points, with its sign, such as +1.25."""
    return UNKNOWN if difference is None else f"{100 * difference:+.2f}"


def count(number: float | None, unknown: str = UNKNOWN) -> str:
    """A number of things, such as 1,234."""
    return unknown if number is None else f"{number:,.0f}"


def times(factor: float | None) -> str:
    """A multiple in two or three digits, such as 1.0, 3.2 or 27; an empty text where it is not known."""
    if factor is None:
        return ""
    return f"{factor:.1f}" if factor < 9.95 else f"{factor:,.0f}"


def short_count(number: float) -> str:
    """A number of things in three digits, such as 1.23M for 1,234,567."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def four_digits(number: float | None, unknown: str = UNKNOWN) -> str:
    """A number with four digits after the point, such as 0.1234; a million or more as 1.5e+16."""
    if number is None:
        return unknown
    return f"{number:.4f}" if abs(number) < LARGE else f"{number:.1e}"


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


def cut_end(name: str, longest: int) -> str:
    """The name; where it is longer than `longest` letters, 1 or more, its start and an ellipsis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def cut_middle(name: str, longest: int) -> str:
    """The name; where it is longer than `longest` letters, 1 or more, its start, an ellipsis and its end."""
    tail = longest // 3
    return name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[len(name) - tail :]}"
