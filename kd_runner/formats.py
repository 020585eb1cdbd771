"""Numbers and names as people read them, in the terminal, in notes and in reports; an unknown number is a dash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    """A difference of two shares in percentage points, with its sign, such as +1.25; one that rounds to 0 is +0.00."""
    return UNKNOWN if difference is None else f"{round(100 * difference, 2) + 0.0:+.2f}"


def count(number: float | None, unknown: str = UNKNOWN) -> str:
    """A number of things, such as 1,234."""
    return unknown if number is None else f"{number:,.0f}"


def number_of(number: int, noun: str, plural: str = "") -> str:
    """A number of things and what they are, such as '1 job', '1,234 jobs', or '2 classes' with their plural."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def times(factor: float | None) -> str:
    """A multiple in two or three digits, such as 1.0, 3.2 or 27; an empty text where it is not known."""
    if factor is None:
        return ""
    return f"{factor:.1f}" if factor < 9.95 else f"{factor:,.0f}"


def relative(number: float, reference: float, less: str = "fewer", more: str = "more", same: str = "as many") -> str:
    """A number above 0 beside another, such as '4.1 times fewer', '2.0 times more', '3 % more' or 'as many'.

    Never '0.2 times fewer'.

    Args:
        less, more, same: Words for a number below the reference, above it, and equal to it.
    """
    if number == reference:
        return same
    word, ratio = (more, number / reference) if number > reference else (less, reference / number)
    if ratio < 1.05:  # it would be shown as 1.0 times
        return f"{100 * abs(number / reference - 1):.2g} % {word}"
    return f"{ratio:,.1f} times {word}"


def roughly_relative(number: float, reference: float, less: str, more: str, same: str) -> str:
    """A rough form of `relative`, with two digits, for uncertain numbers: 'about 37 times faster', 'about as fast'."""
    word, ratio = (more, number / reference) if number > reference else (less, reference / number)
    if ratio < 1.05:
        return f"about {same}"
    rounded = float(f"{ratio:.2g}")
    return f"about {rounded:,.{0 if rounded >= 10 else 1}f} times {word}"


def milliseconds(seconds: float | None, unknown: str = UNKNOWN) -> str:
    """Seconds in three digits of milliseconds, such as 0.0664 ms or 12.3 ms."""
    return unknown if seconds is None else f"{three_digits(1000 * seconds)} ms"


def joules(energy: float | None, unknown: str = UNKNOWN) -> str:
    """An energy in three digits, such as 1.2 mJ for 0.0012 joules."""
    if energy is None:
        return unknown
    return f"{three_digits(1000 * energy)} mJ" if energy < 1 else f"{three_digits(energy)} J"


def size(number: float | None, unknown: str = UNKNOWN) -> str:
    """A number of bytes, such as 9,320 bytes, 214.8 kB, 1.3 MB or 2.1 GB."""
    if number is None:
        return unknown
    for least, unit, name in ((999.95e6, 1e9, "GB"), (999.95e3, 1e6, "MB"), (1e4, 1e3, "kB")):
        if number >= least:
            return f"{number / unit:,.1f} {name}"
    return f"{number:,.0f} bytes"


def three_digits(number: float) -> str:
    """A number in three digits, or in whole ones where it is larger, such as 0.0664, 12.3 or 1,234."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


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


def network_and_seed(node: Mapping[str, Any], seed: int | None) -> str:
    """A network and its seed in words, such as 'ResNet 56, seed 0': its depth or its name beside its class.

    Args:
        node: The `_target_` that builds it, and the arguments.
    """
    name = str(node.get("_target_", "network")).rpartition(".")[2]
    detail = node.get("depth", node.get("name", ""))
    words = f"{name} {detail}".strip() if isinstance(detail, (int, str)) else name
    return words if seed is None else f"{words}, seed {seed}"
