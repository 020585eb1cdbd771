"""Paths with ~."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

import kd_runner
from kd_runner.files.home import typed_path


def test_a_path_below_the_home_folder_and_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed_path("~/report") == Path("/home/me/report")
    assert typed_path("a/~b") == Path("a/~b")
    assert typed_path("~no_such_user_here/x") == Path("~no_such_user_here/x")


def test_nothing_else_in_the_package_asks_for_the_home_folder_of_a_path() -> None:
    """`Path.expanduser` raises where a name only looks like that of a user."""
    package = Path(kd_runner.__file__).parent
    asking = [path for path in package.rglob("*.py") if re.search(r"\.expanduser\(\)", path.read_text())]
    assert asking == [package / "files" / "home.py"]


@pytest.mark.parametrize("text", ["", " "])
def test_nothing_is_not_the_current_folder(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="kd-x")
    parser.add_argument("folder", type=typed_path)
    with pytest.raises(SystemExit):
        parser.parse_args([text])
    assert capsys.readouterr().err.endswith("kd-x: error: argument folder: must be a path, got nothing\n")
