"""Paths as people type them, with ~ for the home folder."""

from __future__ import annotations

from argparse import ArgumentTypeError
from os import PathLike
from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import without_page


def typed_path(text: str) -> Path:
    """The path that a person typed as an argument of a command, with ~ for the home folder.

    Raises:
        ArgumentTypeError: it is nothing, as "$RUN" is where RUN is not set; the empty path is the current folder.
    """
    if not text.strip():
        raise ArgumentTypeError("must be a path, got nothing")
    return with_home(text)


def typed_run(text: str) -> Path:
    """The folder of a run or a sweep, or a file, that a person typed; the report that a command printed is its folder.

    Raises:
        ArgumentTypeError: it is nothing.
    """
    return without_page(typed_path(text))


def with_home(text: str | PathLike[str]) -> Path:
    """The path with ~ for the home folder: shells leave it in place behind '=', as in --out=~/report.

    `Path.expanduser` raises a RuntimeError for a file that is called ~1.png.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or no home: it is a name like any other
        return Path(text)


def home_folder() -> Path | None:
    """The home folder; None in a container, say, where HOME is not set and the user has no entry in passwd."""
    home = with_home("~")
    return None if home == Path("~") else home


def refuse_without_home(path: str, key: str) -> None:
    """Refuse a path in the home folder where there is none: its files would go into a folder that is called ~.

    Raises:
        SettingsError: names the key, what must hold and what was given.
    """
    if (path == "~" or path.startswith("~/")) and home_folder() is None:
        raise SettingsError(
            f"{key}: must lie in a folder that is known, and there is no home folder: set HOME, or name another "
            f"folder, got {path}"
        )
