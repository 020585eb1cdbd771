"""Locks of files, on file systems that have some and on others."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from kd_runner.files.locks import NO_LOCKS, is_locked, is_surely_free, lock_at_once, lock_of, lock_where_possible

HOLD = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); input()"


def test_a_lock_of_another_process_is_seen_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    assert not is_locked(path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    assert is_locked(path)
    assert not is_surely_free(path)
    holder.communicate("\n", timeout=30)
    assert not is_locked(path)
    assert not is_surely_free(path.with_name("absent"))
    path.touch()
    assert is_surely_free(path)
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="flock is Unix's")
def test_no_file_stands_for_a_lock_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "run.lock"
    assert not lock_at_once(lock_of(path))
    with pytest.raises(NO_LOCKS):
        lock_of(path, timeout=0).acquire()
    assert not is_locked(path)
    path.touch()
    assert not is_surely_free(path)


def test_a_block_waits_for_no_lock_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with lock_where_possible(tmp_path / "a.lock"):
        assert is_locked(tmp_path / "a.lock")
    assert not is_locked(tmp_path / "a.lock")
    monkeypatch.setattr(FileLock, "acquire", acquire)
    with lock_where_possible(tmp_path / "a.lock"):
        pass
