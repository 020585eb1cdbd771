"""The content of a folder, told apart: what kd-runner writes, what the system leaves, and the files of other people.

Nothing that is not of a known name is deleted, and no link is followed. Imports nothing heavy.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from kd_runner.files.atomic import UNFINISHED as BEING_WRITTEN
from kd_runner.files.run_folder import (
    ANALYSIS,
    BASELINE_EMA,
    BEGUN,
    CONSOLE,
    CONTACT_SHEET,
    EVENTS,
    HYDRA,
    LOG,
    METRICS,
    NOW,
    OF_TRACKERS,
    PAGE,
    PROFILE,
    RESULT,
    RUN_LOCK,
    SECONDS,
    SETTINGS,
    STUDENT_BEST,
    STUDENT_EMA,
    STUDENT_LAST,
    TRACKERS,
    UNFINISHED,
)

# What file managers and file systems leave in any folder.
SYSTEM = frozenset({".DS_Store", ".localized", ".directory", "Thumbs.db", "desktop.ini", "lost+found"})
SYSTEM_PREFIXES = ("._", ".nfs", ".fuse_hidden")
RUN = frozenset(
    [
        *(SETTINGS, RESULT, ANALYSIS, PAGE, LOG, NOW, CONSOLE, CONTACT_SHEET, RUN_LOCK),
        *(STUDENT_LAST, STUDENT_BEST, STUDENT_EMA, BASELINE_EMA, UNFINISHED, HYDRA, EVENTS, PROFILE),
        *(METRICS, TRACKERS, *OF_TRACKERS),
    ]
)
WEIGHTS = r"(teacher|(teachers|assistants|generations|peers)\..+|baseline)\.safetensors"
STATE = "state.pt"  # in the folder of a stage that was cut off: what it goes on from
RESUME_STATE = (STATE, "epoch.json")


def is_being_written(name: str, of: str = ".+") -> bool:
    """True for the name of a file that `kd_runner.files.atomic` was writing, and was killed.

    Args:
        of: A regular expression of the name that the file was to get.
    """
    return re.fullmatch(rf"\.{of}\.[0-9a-f]{{32}}{re.escape(BEING_WRITTEN)}", name) is not None


def is_of_the_system(name: str) -> bool:
    """True for the name of a file that a system leaves in any folder."""
    return name in SYSTEM or name.startswith(SYSTEM_PREFIXES)


def is_of_a_run(name: str) -> bool:
    """True for the name of something that a run leaves in its folder."""
    return name in RUN or re.fullmatch(WEIGHTS, name) is not None or is_being_written(name)


def foreign_names(folder: Path, known: Collection[str] = ()) -> list[str]:
    """The names in `folder` that are neither known nor the system's, and the known ones that are links."""
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not is_of_the_system(name) and (name not in known or is_link(folder / name))]


def is_link(path: Path | os.DirEntry[str]) -> bool:
    """True for a symbolic link, and for a junction on Windows."""
    return path.is_symlink() or bool(getattr(path, "is_junction", bool)())


def links(folder: Path, names: Iterable[str]) -> list[str]:
    """The names in `folder` that are links, among `names`."""
    return [name for name in names if is_link(folder / name)]


def remove_files(folder: Path, names: Collection[str]) -> None:
    """Delete these files of `folder`, what killed processes were writing, and the folder where nothing else is in it.

    A link is not followed, and what cannot be deleted stays.
    """
    if is_link(folder) or not folder.is_dir():
        return
    try:
        for path in folder.iterdir():
            if (path.name in names or is_being_written(path.name)) and (is_link(path) or path.is_file()):
                path.unlink(missing_ok=True)
        folder.rmdir()
    except OSError:  # other files are in it, or it may only be read
        return


def remove_resume_states(unfinished: Path) -> None:
    """Delete what a completed run leaves in its folder `unfinished`, and that folder where nothing else is in it."""
    if is_link(unfinished) or not unfinished.is_dir():
        return
    for stage in unfinished.iterdir():
        remove_files(stage, RESUME_STATE)
    remove_files(unfinished, (BEGUN, SECONDS))


def remove_abandoned(path: Path) -> None:
    """Delete what killed processes were writing beside `path`, a file or a folder; no other process may be at it."""
    if not path.parent.is_dir():
        return
    for abandoned in path.parent.iterdir():
        if not is_being_written(abandoned.name, re.escape(path.name)):
            continue
        if abandoned.is_dir() and not is_link(abandoned):
            shutil.rmtree(abandoned, ignore_errors=True)
        else:
            abandoned.unlink(missing_ok=True)
