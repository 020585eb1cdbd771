"""The folder in which an exported file is written, and what killed exports have left of such folders."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kd_runner.errors import SettingsError
from kd_runner.files.contents import is_link
from kd_runner.files.locks import NO_LOCKS, lock_of

PREFIX = ".kd-export-"
ABANDONED = re.compile(rf"{re.escape(PREFIX)}\w{{8}}")  # as `tempfile.mkdtemp` names it
LOCK, FILES = "lock", "files"  # in such a folder: the lock of its process, and what is being written
ATTEMPTS = 10  # at a folder that no other process takes for abandoned before it has its lock


@contextmanager
def unfinished_folder(output: Path) -> Iterator[Path]:
    """A folder beside `output`, for a file that may be refused; it is gone after the block, and so is what it holds.

    The folders that killed processes have left there are deleted first.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned_folders(output.parent)
        folder, lock = _locked_folder(output.parent)
    except OSError as error:
        raise SettingsError(f"--output: nothing can be written to {output.parent} ({error.strerror})") from error
    try:
        yield folder / FILES
    finally:
        lock.release()  # first, as Windows deletes no file that is open
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned_folders(parent: Path) -> None:
    """Delete the folders of exports in `parent` that no living process has locked."""
    for folder in parent.iterdir():
        if not ABANDONED.fullmatch(folder.name) or is_link(folder) or not folder.is_dir():
            continue
        lock = lock_of(folder / LOCK, timeout=0)
        try:
            with lock:
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, *NO_LOCKS):  # a process is at it, or nobody can tell
            continue


def _locked_folder(parent: Path) -> tuple[Path, FileLock]:
    """A new folder in `parent`, and its lock, which this process holds where the file system has locks."""
    for _ in range(ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = lock_of(folder / LOCK, timeout=0)
        try:
            lock.acquire()
            (folder / FILES).mkdir()
        except (Timeout, FileNotFoundError):  # another export took the folder for abandoned before it had its lock
            lock.release()
            continue
        except NO_LOCKS:
            (folder / FILES).mkdir(exist_ok=True)
        return folder, lock
    raise FileExistsError(f"other exports delete what is made in {parent}")
