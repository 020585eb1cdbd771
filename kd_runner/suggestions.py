"""Suggestions for misspelt names. Imports nothing of ours, so that every module may use it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

QUESTION = "?"  # typed in place of a value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The text ' (did you mean …?)' with the nearest of `known`; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def help_on(key: str, value: object) -> str:
    """The end of the line about a question mark in place of a value: the command that says what there is to know."""
    return f"; kd-runner help {key} says what it may be" if value == QUESTION else ""


def number_meant(value: object) -> str | None:
    """The number that a text stands for which YAML reads as none: 90%, 0,001, 1/4; None for other values."""
    if not isinstance(value, str):
        return None
    percent = re.fullmatch(r"([-+]?\d+(?:\.\d+)?) ?%", value)
    decimal = re.fullmatch(r"([-+]?\d+),(\d+(?:e[-+]?\d+)?)", value, re.IGNORECASE)
    ratio = re.fullmatch(r"(\d+)/(\d+)", value)
    if percent:
        return f"{float(percent[1]) / 100:g}"
    if decimal:
        return f"{decimal[1]}.{decimal[2]}"
    return f"{int(ratio[1]) / int(ratio[2]):g}" if ratio and int(ratio[2]) else None
