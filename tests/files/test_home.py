"""Paths with ~."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from no_home import take_home_away

import kd_runner
from kd_runner.errors import SettingsError
from kd_runner.files.home import home_folder, refuse_without_home, typed_path


def test_a_path_below_the_home_folder_and_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed_path("~/report") == Path("/home/me/report")
    assert typed_path("a/~b") == Path("a/~b")
    assert typed_path("~no_such_user_here/x") == Path("~no_such_user_here/x")


def test_without_a_home_folder_paths_in_it_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home_folder() == Path.home()
    take_home_away(monkeypatch)
    assert home_folder() is None
    refuse_without_home("data", "store")
    refuse_without_home("~data", "store")
    for path in ("~", "~/data"):
        with pytest.raises(SettingsError, match=f"store: must lie in .* no home folder: set HOME.* got {path}$"):
            refuse_without_home(path, "store")


def test_nothing_else_in_the_package_asks_for_the_home_folder_of_a_path() -> None:
    """`Path.expanduser` and `Path.home` raise where a name looks like that of a user, and where there is no home."""
    package = Path(kd_runner.__file__).parent
    asking = [path for path in package.rglob("*.py") if re.search(r"\.expanduser\(\)|Path\.home\(", path.read_text())]
    assert asking == [package / "files" / "home.py"]


@pytest.mark.parametrize("text", ["", " "])
def test_nothing_is_not_the_current_folder(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser(prog="kd-x")
    parser.add_argument("folder", type=typed_path)
    with pytest.raises(SystemExit):
        parser.parse_args([text])
    assert capsys.readouterr().err.endswith("kd-x: error: argument folder: must be a path, got nothing\n")
