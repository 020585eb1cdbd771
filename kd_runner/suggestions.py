"""Suggestions for misspelt names. Imports nothing of ours, so that every module may use it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The text ' (did you mean …?)' with the nearest of `known`; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
