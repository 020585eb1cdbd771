"""Paths with ~."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.files.home import typed_path


def test_a_path_below_the_home_folder_and_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed_path("~/report") == Path("/home/me/report")
    assert typed_path("a/~b") == Path("a/~b")
    assert typed_path("~no_such_user_here/x") == Path("~no_such_user_here/x")
