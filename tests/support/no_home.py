"""A user without a home folder, as in a container with `--user` and no HOME."""

from __future__ import annotations

import pwd
from typing import NoReturn

import pytest


def take_home_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment name no home folder, and passwd have no entry."""

    def no_entry(number: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
