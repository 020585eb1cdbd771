"""Paths as people type them, with ~ for the home folder."""

from __future__ import annotations

from pathlib import Path


def typed_path(text: str) -> Path:
    """The path that a person typed: shells leave ~ in place behind '=', as in --out=~/report."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or no home: it is a name like any other
        return Path(text)
