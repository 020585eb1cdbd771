"""Removal of what a refused command has left in its folder: nothing was trained, and nobody wants to look there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.contents import is_link, remove_files
from kd_runner.files.run_folder import LOCK, LOG, SETTINGS

RECORD = ("config.yaml", "hydra.yaml", "overrides.yaml")  # what Hydra writes of a command
_absent: dict[Path, list[Path]] = {}  # the folders that a command has to make, the deepest first, by its folder


def remember_absent(folder: Path) -> None:
    """Remember which folders are not there yet, of `folder` and those above it, before a command makes them."""
    _absent[folder.absolute()] = absent_folders(folder)


def absent_folders(folder: Path) -> list[Path]:
    """The folders that are not there, of `folder` and those above it, the deepest first."""
    return [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]


def remove_traces(folder: Path, name: str | None) -> None:
    """Delete the subfolder `name`, where Hydra records the command, unless a run began in `folder`.

    The log goes, too, and every folder that is then empty, where this command made them.
    """
    if (folder / SETTINGS).exists():
        return
    if name is not None:
        remove_files(folder / name, RECORD)
    absent = _absent.pop(folder.absolute(), [])
    if folder.absolute() not in absent or is_link(folder):
        return
    _close_log(folder / LOG)
    (folder / LOG).unlink(missing_ok=True)
    remove_empty(absent)


@contextmanager
def folder_goes_where_refused(folder: Path) -> Iterator[None]:
    """Remove the folder of a sweep that the block makes and refuses, and the empty folders above it that it made."""
    absent = absent_folders(folder)
    try:
        yield
    except SettingsError:
        if folder.absolute() in absent and not is_link(folder):
            (folder / LOCK).unlink(missing_ok=True)
            remove_empty(absent)
        raise


def remove_empty(folders: Sequence[Path]) -> None:
    """Delete these folders, the deepest first, as far as nothing is in them."""
    for path in folders:
        with suppress(OSError):  # it holds something, such as another run
            path.rmdir()


def _close_log(path: Path) -> None:
    """Take the handlers of a log file off their loggers, so that no later line makes the file anew."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for logger in loggers:
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename) == path.absolute():
                logger.removeHandler(handler)
                handler.close()
