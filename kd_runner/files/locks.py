"""Locks of files: they end with the process that has them, however it ends, and some file systems have none."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

NO_LOCKS = (NotImplementedError, OSError)  # raised where a file system has none
WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL}


def lock_of(path: Path, timeout: float = -1) -> FileLock:
    """The lock of a file. Where there are none, it is no file that stands for one, and would outlive its process.

    Args:
        timeout: Seconds after which taking it raises a Timeout; negative: never.
    """
    return FileLock(path, timeout=timeout, fallback_to_soft=False)


def lock_at_once(lock: FileLock) -> bool:
    """Take a lock that nobody has; returns False where the file system has no locks.

    Raises:
        Timeout: another process has it, or another part of this one.
    """
    try:
        lock.acquire(blocking=False)
    except NO_LOCKS as error:  # a Timeout is an OSError without a number
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            raise
        return False
    return True


@contextmanager
def lock_where_possible(path: Path) -> Iterator[None]:
    """Hold the lock of a file in this block, once nobody else has it; no lock where the file system has none."""
    lock = lock_of(path)
    try:
        lock.acquire()
    except NO_LOCKS as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def is_surely_free(path: Path) -> bool:
    """True where this file is there and could be locked: no process of this machine has locked it."""
    if not path.is_file():
        return False
    lock = lock_of(path)
    try:
        could_be_locked = lock_at_once(lock)
    except OSError:  # another process has it, or it is somebody else's file
        return False
    lock.release()
    return could_be_locked


def is_locked(path: Path) -> bool:
    """True where a process has locked this file, as far as the file system tells."""
    if not path.is_file():
        return False
    lock = lock_of(path)
    try:
        lock_at_once(lock)
    except Timeout:
        return True
    lock.release()
    return False
