"""A run or sweep is refused whose folder is in use: by another run, a sweep or other files. Imports nothing heavy.

Nothing is written or deleted in a folder before it has passed here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.contents import foreign_names, is_being_written, is_link, is_of_a_run, links
from kd_runner.files.links import refuse_links
from kd_runner.files.run_folder import (
    BEGUN,
    CHECKED,
    CONSOLE,
    DRIVERS,
    EARLIER,
    EVENTS,
    GRID,
    HYDRA,
    JOURNAL,
    LOCK,
    LOG,
    MULTIRUN,
    NETWORKS,
    OF_TRACKERS,
    PACKS,
    PAGE,
    RESULT,
    RUN_LOCK,
    SECONDS,
    SETTINGS,
    SLURM,
    STOP,
    UNFINISHED,
)
from kd_runner.files.written_pages import is_page_of_ours

MARKS_OF_A_RUN = (SETTINGS, RESULT, UNFINISHED)  # that `kd_runner.runs.run` leaves
MARKS_OF_A_SWEEP = (MULTIRUN, GRID)
LOGS = (LOG, CONSOLE)  # a command that was refused leaves them; so does what starts a job of a sweep
BEFORE_A_RUN = (*LOGS, RUN_LOCK, HYDRA, RESULT, UNFINISHED)  # what a run leaves that was stopped before it had begun
BEFORE_A_SWEEP = (LOCK, CHECKED, MULTIRUN, DRIVERS)  # what a sweep leaves that was stopped before it had begun
OF_A_SWEEP = (*BEFORE_A_SWEEP, GRID, EARLIER, NETWORKS, PACKS, EVENTS, SLURM, STOP, PAGE, JOURNAL, *OF_TRACKERS)
SHOWN = 3  # names of files in a message


def refuse_output_subdir(name: str | None) -> None:
    """Raise SettingsError where Hydra's record of a command would lie outside the run's folder, or on a file of it."""
    if name is None or name == HYDRA:
        return
    if name in ("", ".", "..") or set("/\\:\0") & set(name) or is_of_a_run(name):
        raise SettingsError(f"hydra.output_subdir: must be the name of a folder of its own in the run's, got {name!r}")


def refuse_used_folder(folder: Path, written: Collection[str] = ()) -> None:
    """Raise SettingsError where `folder` holds a run, a sweep or other files, or cannot be written to.

    Args:
        written: Names of what this very command has written there.
    """
    with _readable("hydra.run.dir", folder):
        if not _is_folder("hydra.run.dir", folder):
            return
        names = foreign_names(folder)
        if any(name in MARKS_OF_A_SWEEP for name in names):
            raise SettingsError(f"hydra.run.dir: {folder} holds a sweep; {_remedy(folder)}")
        marks = (*MARKS_OF_A_RUN, *(() if written else (HYDRA,)))
        if any(os.path.lexists(folder / name) for name in marks):
            status = atomic.read_json(folder / RESULT).get("status", "not finished")
            raise SettingsError(f"hydra.run.dir: {folder} holds a run already ({status}); {_remedy(folder)}")
        refuse_links(folder, "hydra.run.dir")
        names = foreign_names(folder, {*LOGS, RUN_LOCK, *written})
        if names:
            raise SettingsError(f"hydra.run.dir: {folder} must be new or empty, it holds {_listing(names)}")


def refuse_no_run(folder: Path, written: Collection[str] = ()) -> None:
    """Raise SettingsError where a run cannot go on in `folder`: it holds something else, or links lead out of it.

    A run that has begun has left its settings there; whether they are the same is looked at later.

    Args:
        written: Names of what this very command has written there.
    """
    with _readable("resume", folder):
        if not _is_folder("resume", folder):
            return
        refuse_named_links("resume", folder, [path.name for path in folder.iterdir() if is_of_a_run(path.name)])
        for inner in (folder / UNFINISHED, folder / EVENTS):
            if inner.is_dir():
                refuse_named_links("resume", inner, [path.name for path in inner.iterdir()])
            elif os.path.lexists(inner):
                raise SettingsError(f"resume: {inner} must be a folder, it is a file: move it away")
        if os.path.lexists(folder / SETTINGS):
            return
        known = {*BEFORE_A_RUN, *written, *([PAGE] if is_page_of_ours(folder / PAGE) else [])}
        names = [name for name in foreign_names(folder, known) if not is_being_written(name)]
        if (folder / UNFINISHED).is_dir():
            inside = [
                name for name in foreign_names(folder / UNFINISHED, (BEGUN, SECONDS)) if not is_being_written(name)
            ]
            names += [f"{UNFINISHED}/{name}" for name in inside]
        if os.path.lexists(folder / RESULT) and "status" not in atomic.read_json(folder / RESULT):
            names.append(RESULT)
        if names:
            raise SettingsError(
                f"resume: must be the folder of a run, {folder} has no {SETTINGS} of one, and holds {_listing(names)}"
            )


def refuse_running(folder: Path) -> None:
    """Raise SettingsError where another process does the run in `folder`, as far as the file system tells."""
    if not (folder / RUN_LOCK).is_file():
        return
    from kd_runner.files.locks import is_locked  # which most commands do without

    with _readable("resume", folder):
        if is_locked(folder / RUN_LOCK):
            raise SettingsError(running(folder, "resume"))


def running(folder: Path, key: str) -> str:
    """The message for a command that would do a run which another process does."""
    return f"{key}: another process does the run in {folder}: wait for its end, or end it and then go on with it"


def refuse_other_contents(folder: Path, resumed: bool = False) -> None:
    """Raise SettingsError where `folder` holds neither nothing nor a sweep, or links lead out of it."""
    key = "resume" if resumed else "hydra.sweep.dir"
    with _readable(key, folder):
        if not _is_folder(key, folder):
            return
        refuse_links(folder, "hydra.sweep.dir")
        refuse_named_links(key, folder, OF_A_SWEEP)
        events = folder / EVENTS
        if events.is_dir():
            refuse_named_links(key, events, [path.name for path in events.iterdir()])
        if any((folder / name).is_file() for name in (GRID, JOURNAL)):
            return
        record = folder / MULTIRUN
        names = [name for name in foreign_names(folder, BEFORE_A_SWEEP) if not name.startswith(f"{JOURNAL}.")]
        names = [name for name in names if not is_being_written(name, re.escape(MULTIRUN))]  # by another driver
        if record.exists() and b"kd_runner" not in record.read_bytes():
            names.append(MULTIRUN)
        if names:
            raise SettingsError(f"{key}: must be new, empty or the folder of a sweep, {folder} holds {_listing(names)}")


def refuse_named_links(key: str, folder: Path, names: Sequence[str]) -> None:
    """Raise SettingsError where one of these names in `folder` is a link: what is written there would go elsewhere."""
    for name in links(folder, names):
        raise SettingsError(f"{key}: {folder / name} must be no link, as it would be written to: remove the link")


def _is_folder(key: str, folder: Path) -> bool:
    """True where `folder` is there, False where it can be made.

    Raises:
        SettingsError: a file is in its place, or it cannot be written to.
    """
    if is_link(folder) and not folder.exists():
        raise SettingsError(f"{key}: must be a folder, {folder} is a link to nothing")
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise SettingsError(f"{key}: must be a folder, {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise SettingsError(f"{key}: must be a folder that can be written to, {above.absolute()} can only be read")
    return above == folder


@contextmanager
def _readable(key: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{key}: must be a folder that can be read, got {folder} ({error.strerror})") from error


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _remedy(folder: Path) -> str:
    return f"go on with it: {shlex.quote(f'resume={folder}')}, or choose another folder"
