"""The processes that run one search, its drivers: who has which trials, and what only one of them does at a time.

By default a search has one driver, which locks its folder. With `hydra.sweeper.storage` it has as many as were started,
on all machines that see the folder. Each holds the lock of a file of its own as long as it lives, so that the others
see when it has ended, however it did: no clock, no heartbeat and no process ID of another machine is needed for that.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileOpenLock

from kd_runner.errors import SettingsError
from kd_runner.files import atomic, locks
from kd_runner.files.locks import is_locked, lock_of
from kd_runner.files.run_folder import ALIVE, DRIVERS, JOURNAL, LOCK, SLURM
from kd_runner.sweeps import folder as sweep_folder
from kd_runner.sweeps.jobs import Job

OF_STUDY = "study.lock"  # locked by the driver that proposes a trial, or tells how one ended
STUDY = "study.json"  # says which storage the study is in, and its name there
PATIENCE = 60  # seconds
NO_LOCKS = "hydra.sweeper.storage: several drivers need locks of files, which the file system of {} does not have"


class Driver:
    """One process that runs a search.

    Args:
        search_folder: The folder of the search.
        name: The name among the drivers of the search; empty for the only one.
    """

    def __init__(self, search_folder: Path, name: str = "") -> None:
        self.search_folder, self.name = search_folder, name
        # What a check of jobs, a pack or a queue leaves is this driver's own.
        self.folder = search_folder / DRIVERS / name if name else search_folder
        self._lock = lock_of(search_folder / DRIVERS / OF_STUDY) if name else nullcontext()

    @property
    def is_one_of_many(self) -> bool:
        return bool(self.name)

    @contextmanager
    def exclusive_access(self) -> Iterator[None]:
        """Keep other drivers from proposing trials and telling their ends in this block, which may be entered twice."""
        with self._lock:
            yield

    def is_alive(self, name: str) -> bool:
        """True where this is the name of a driver that still runs."""
        if name == self.name:
            return True
        return bool(name) and is_locked(self.search_folder / DRIVERS / f"{name}{ALIVE}")

    def run_lock(self, run: Job) -> Path:
        """The file that the process locks which does this run of a trial."""
        return self.search_folder / DRIVERS / f"run_{run.name.removeprefix('#').replace(' ', '_')}.lock"

    def folder_of(self, name: str) -> Path:
        """The folder of what another driver leaves; that of the search for an only one, which has no name."""
        return self.search_folder / DRIVERS / name if name else self.search_folder


def is_name_of_driver(name: Any) -> bool:
    """True for a text that can be the name of a driver, and leads nowhere as the name of a folder; or an empty one."""
    return isinstance(name, str) and re.fullmatch(r"([\w-][\w.-]*)?", name) is not None


def living_drivers(folder: Path) -> list[str]:
    """The names of the drivers that run the search in a folder."""
    files = sorted((folder / DRIVERS).glob(f"*{ALIVE}"))
    return [path.name.removesuffix(ALIVE) for path in files if is_locked(path)]


@contextmanager
def one_of_many(folder: Path, resumed: bool) -> Iterator[Driver]:
    """This process as a driver of the search in a folder, beside others, during this block.

    Raises:
        SettingsError: a driver that shares with none runs it, or the folder holds something else or has no locks.
    """
    sweep_folder.refuse_unfit_folder(folder, resumed)
    name = f"{os.uname().nodename.partition('.')[0]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = lock_of(folder / DRIVERS / f"{name}{ALIVE}")
    try:
        _enter(folder, name, lock)
        driver = Driver(folder, name)
        _tidy(driver)
        with driver.exclusive_access():  # or the other driver that looks at this file would seem to run the search
            has_other = is_locked(folder / LOCK)
        if has_other:
            raise SettingsError(
                f"hydra.sweep.dir: a driver that shares its search with none runs in {folder}: end it, then go on with "
                f"resume={folder} hydra.sweeper.storage=journal on each machine"
            )
        yield driver
    except locks.NO_LOCKS as error:
        if isinstance(error, OSError) and error.errno not in locks.WITHOUT_LOCKS:
            raise
        raise SettingsError(NO_LOCKS.format(folder)) from None
    finally:
        _leave(folder, name, lock)


def _enter(folder: Path, name: str, lock: FileLock) -> None:
    """Lock the file that says that this driver lives, and then make its folder, which others would remove before."""
    for is_last in (False, False, True):
        try:
            (folder / DRIVERS).mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=PATIENCE)  # another driver may be looking whether it is locked
            break
        except FileNotFoundError:  # a driver that was refused has just removed the empty folder
            if is_last:
                raise
    (folder / DRIVERS / name).mkdir(mode=0o700)


def _tidy(driver: Driver) -> None:
    """Remove what killed drivers left, which may hold settings from the environment, but for jobs in a queue."""
    with driver.exclusive_access():
        for path in (driver.search_folder / DRIVERS).iterdir():
            is_queue = (path / SLURM).exists()
            if path.is_dir() and not path.is_symlink() and not is_queue and path.name != driver.name:
                with suppress(Timeout), lock_of(path.with_name(f"{path.name}{ALIVE}")).acquire(blocking=False):
                    shutil.rmtree(path, ignore_errors=True)
                    path.with_name(f"{path.name}{ALIVE}").unlink(missing_ok=True)


def _leave(folder: Path, name: str, lock: FileLock) -> None:
    """Remove what a driver leaves, but for jobs that wait in a queue."""
    (folder / DRIVERS / f"{name}{ALIVE}").unlink(missing_ok=True)
    lock.release()
    own_folder = folder / DRIVERS / name
    if not (own_folder / SLURM).exists():
        shutil.rmtree(own_folder, ignore_errors=True)
    if not has_study(folder):  # it was refused
        of_study = folder / DRIVERS / OF_STUDY
        try:
            with lock_of(of_study).acquire(blocking=False):
                of_study.unlink(missing_ok=True)  # whoever waits for it makes another one
        except Timeout:
            return
        except locks.NO_LOCKS:
            of_study.unlink(missing_ok=True)
        with suppress(OSError):
            (folder / DRIVERS).rmdir()  # never what another driver has just put there


@contextmanager
def the_only_one(folder: Path, resumed: bool) -> Iterator[Driver]:
    """This process as the only driver of the search in a folder.

    Raises:
        SettingsError: another process runs it, or the folder holds something else.
    """
    with sweep_folder.exclusive_folder(folder, resumed):
        living = living_drivers(folder)
        if living:
            raise SettingsError(
                f"hydra.sweeper.storage: must be typed to search beside {living[0]}, such as journal, got null"
            )
        yield Driver(folder)


class JournalLock(JournalFileOpenLock):
    """The lock of a journal that several drivers write, which a killed process does not keep.

    Whoever gets it cuts off the half line that a killed process may have left, to which the next would be added.
    """

    def __init__(self, journal: Path) -> None:
        self.journal, self.lock, self._thread = journal, lock_of(Path(f"{journal}.lock")), threading.Lock()

    def acquire(self) -> bool:
        """Wait for the lock; returns True."""
        self.lock.acquire()
        mend_journal(self.journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self.lock.release()


def mend_journal(journal: Path) -> None:
    """Cut off the half line at the end of a journal."""
    with journal.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        position = end
        while position > 0:
            start = max(0, position - 2**16)
            file.seek(start)
            block = file.read(position - start)
            if b"\n" in block:
                file.truncate(start + block.rindex(b"\n") + 1)
                return
            position = start
        file.truncate(0)


def study_record(folder: Path) -> dict[str, str]:
    """The kind of the storage that a search in a folder has, and the study's name there; empty for its own journal."""
    record = atomic.read_json(folder / DRIVERS / STUDY)
    return {name: value for name, value in record.items() if isinstance(value, str)}


def has_study(folder: Path) -> bool:
    """True where a search has begun in a folder."""
    return (folder / JOURNAL).exists() or bool(study_record(folder))
