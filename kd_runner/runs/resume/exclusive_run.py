"""A run that one process does at a time, in a folder that it has locked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from kd_runner.command_line.refused_command_cleanup import absent_folders, remove_empty
from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.folder_checks import running
from kd_runner.files.locks import lock_at_once, lock_of
from kd_runner.files.run_folder import RESULT, RUN_LOCK, SETTINGS
from kd_runner.notes import note


@contextmanager
def exclusive_run(folder: Path, resumed: bool = False) -> Iterator[None]:
    """Keep other processes from the run in `folder` during this block, in which it may begin, go on and complete.

    The lock ends with the process. Its file goes where no run has begun, with the folders that were made for it, and
    where the run has completed: nobody changes that any longer, so it is not locked again either.

    Raises:
        SettingsError: another process does the run.
    """
    if is_completed(folder):
        yield
        return
    absent = absent_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_of(folder / RUN_LOCK)
    try:
        if not lock_at_once(lock):
            note("run", f"the file system of {folder} has no locks: do not go on with this run while it runs")
    except Timeout:
        raise SettingsError(running(folder, "resume" if resumed else "hydra.run.dir")) from None
    try:
        yield
    finally:
        lock.release()  # first, as Windows deletes no file that is open
        if is_completed(folder) or not (folder / SETTINGS).exists():
            with suppress(OSError):  # another process looks at it
                (folder / RUN_LOCK).unlink(missing_ok=True)
            remove_empty(absent)


def is_completed(folder: Path) -> bool:
    """True where the run in `folder` has completed."""
    return atomic.read_json(folder / RESULT).get("status") == "completed"
