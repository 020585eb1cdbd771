"""Full, read-only and odd file systems: one line that says what to do, and a run that goes on where it can.

Root may write to every folder, and not every machine may mount: most file systems are played by errors of the system.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from filelock import FileLock
from files_of_others import KEY, content_of, put
from torch import nn

from kd_runner import socket_folder
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic
from kd_runner.files.disk import quiet_threads, refusal, refusals_in_one_line
from kd_runner.input_pipeline import sources
from kd_runner.log_handlers import Console, LogFile
from kd_runner.notes import collected_notes
from kd_runner.runs.run import run
from kd_runner.store import entries
from kd_runner.store.command import main as store
from kd_runner.sweeps.folder import exclusive_folder
from kd_runner.tracking import hparams


def failing(number: int, path: str | None = None) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number), path)

    return fail


def test_prune_says_what_it_could_not_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, f"{KEY}/MANIFEST.json", f"{KEY}/network.safetensors", f".{KEY}.work/state.pt")
    before = content_of(tmp_path)
    monkeypatch.setattr(Path, "unlink", failing(errno.EROFS))
    monkeypatch.setattr("filelock.SoftFileLease.acquire", failing(errno.EROFS))
    assert store(["--store", str(tmp_path), "prune", KEY]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"kd-runner: store: {KEY} is not deleted: Read-only file system\n"
        f"kd-runner: store: {KEY}.work is not deleted: Read-only file system\n"
    )
    assert content_of(tmp_path) == before


def train(_: object) -> tuple[nn.Module, list[dict[str, float]]]:
    return nn.Linear(2, 2), [{"val_accuracy": 0.5}]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_store_that_lacks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It is said before anything trains; a network that is there is used."""
    stored = entries.trained_once(tmp_path, "teacher", {"a": 1}, {}, train)
    monkeypatch.setattr(tempfile, "mkstemp", failing(number))
    assert entries.trained_once(tmp_path, "teacher", {"a": 1}, {}, train).path == stored.path
    with pytest.raises(
        RunFailed, match=r"^store: must be a folder that can be written to, as .* \(teacher\) .*store=FOLDER$"
    ):
        entries.trained_once(tmp_path, "teacher", {"a": 2}, {}, pytest.fail)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "x", "/a/b"), "the disk is full: /a/b; make room, and go on with the run"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "a file cannot be written or read: /a (Read-only file"),
        (OSError(errno.EIO, "Input/output error", "/a"), "the file system refused a file: /a (Input/output error)"),
        (Exception("I/O error: No space left on device (os error 28)"), "the disk refused a file: I/O error"),
        (FileNotFoundError(errno.ENOENT, "no such file"), None),
        (ValueError("a mistake of ours"), None),
    ],
)
def test_what_a_disk_refuses_is_one_line(error: Exception, line: str | None) -> None:
    assert (refusal(error) or "").startswith(line or "")
    assert bool(refusal(error)) == bool(line)
    with pytest.raises(RunFailed if line else type(error)), refusals_in_one_line():
        raise error


@pytest.mark.parametrize(
    "place", ["tracking.dashboard.begin", "runs.run.begin", "runs.stages.stage_runner.link_or_copy"]
)
def test_a_full_disk_ends_a_run_in_one_line(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    name = {"runs.stages.stage_runner.link_or_copy": "runs.stages.labels_only.link_or_copy"}.get(place, place)
    monkeypatch.setattr(f"kd_runner.{name}", failing(errno.ENOSPC, "/full/file"))
    with pytest.raises(RunFailed, match=r"^the disk is full: /full/file; make room"):
        run(settings("baseline=false"), tmp_path / "run")
    result = atomic.read_json(tmp_path / "run" / "result.json")
    assert result.get("error", "the disk is full").startswith("the disk is full")


def test_a_thread_on_a_full_disk_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    for number, count in ((errno.ENOSPC, 0), (errno.ENOENT, 1)):
        with quiet_threads():
            thread = threading.Thread(target=failing(number))
            thread.start()
            thread.join()
        assert len(seen) == count


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.Logger("of a test")
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_a_log_on_a_full_disk_says_so_once(
    tmp_path: Path, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(str(tmp_path / "kd-runner.log"))
    log.addHandler(handler)
    log.warning("before")
    handler.stream = SimpleNamespace(write=failing(errno.ENOSPC), flush=lambda: None, close=failing(errno.ENOSPC))  # type: ignore[assignment]
    for _ in range(154):
        log.warning("after")
    handler.close()
    said = capsys.readouterr().err
    assert said == (
        f"kd-runner: note: {tmp_path}/kd-runner.log cannot be written (No space left on device); the run goes on "
        "without it\n"
    )
    assert (tmp_path / "kd-runner.log").read_text() == "before\n"


def test_a_log_that_cannot_be_opened(tmp_path: Path, log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.addHandler(LogFile(str(tmp_path / "nowhere" / "kd-runner.log")))
    log.warning("a line")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("number", "lines"), [(errno.ENOSPC, 1), (errno.EPIPE, 0)])
def test_an_output_that_takes_no_more(
    log: logging.Logger, capsys: pytest.CaptureFixture[str], number: int, lines: int
) -> None:
    log.addHandler(Console(SimpleNamespace(write=failing(number), flush=lambda: None)))
    for _ in range(9):
        log.warning("a line")
    assert capsys.readouterr().err.count("\n") == lines


def test_a_mistake_in_a_line_of_the_log_is_still_told(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.addHandler(Console())
    log.warning("%d", "no number")
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "fsync", failing(number))
    atomic.write(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))  # of a disk that is broken
    with pytest.raises(OSError, match="Input/output error"):
        atomic.write(tmp_path / "file", b"other")
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize("error", [NotImplementedError("flock"), OSError(errno.ENOLCK, "No locks available")])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def acquire(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with collected_notes() as notes, exclusive_folder(tmp_path / "sweep"):
        pass
    assert "has no locks: start no second sweep there" in notes[0]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "run/events.out.tfevents.1")
    monkeypatch.setattr(Path, "symlink_to", failing(errno.EPERM))
    assert hparams.link_event_files(tmp_path / "run", tmp_path / "links", hparams.LinkBounds()).is_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
@pytest.mark.parametrize(("free", "workers"), [(0, 0), (10_000_000, 2), (10**9, 8)])
def test_a_small_shared_memory(monkeypatch: pytest.MonkeyPatch, free: int, workers: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with collected_notes() as notes:
        assert sources.workers_with_room(8, 1_000_000) == workers
    assert len(notes) == (workers < 8)
    assert all(f"dataset.workers: {workers} in place of 8" in line for line in notes)
    assert sources.workers_with_room(0, 1_000_000) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.ENOSYS])
def test_a_shared_memory_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda: SimpleNamespace(Lock=failing(number)))
    with collected_notes() as notes:
        assert sources.workers_with_room(8, 1) == 0
    assert os.strerror(number) in notes[0]


SOCKET = """
import multiprocessing, os, sys
from multiprocessing import util
from kd_runner.sweeps.engines.fork_server import ForkServer
if __name__ == "__main__":
    server = ForkServer()
    print(server.facts.pid > 0)
    print(len(util.get_temp_dir()) < 40)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
def test_a_temporary_folder_with_too_long_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    made: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(util, "get_temp_dir", lambda: made.append(tempfile.gettempdir()))
    socket_folder.settle_socket_folder()
    assert len(made) == 1
    assert len(made[0]) < 75
    assert tempfile.gettempdir() == str(long)  # for everything else
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    socket_folder.settle_socket_folder()
    assert len(made) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork server")
@pytest.mark.parametrize("kind", ["long", "missing", "a file"])
def test_the_fork_server_starts_with_any_temporary_folder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / ("x" * 90 if kind == "long" else "tmp")
    if kind == "long":
        folder.mkdir()
    elif kind == "a file":
        folder.touch()
    (tmp_path / "driver.py").write_text(SOCKET)
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "driver.py"]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert process.stdout.splitlines() == ["True", "True"], process.stderr


def test_read_only_outputs_are_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kd_runner.files.folder_checks import refuse_other_contents, refuse_used_folder

    monkeypatch.setattr(os, "access", lambda *_: False)
    for check, key in ((refuse_used_folder, r"hydra\.run\.dir"), (refuse_other_contents, r"hydra\.sweep\.dir")):
        with pytest.raises(
            SettingsError, match=rf"^{key}: must be a folder that can be written to, .* can only be read$"
        ):
            check(tmp_path / "new" / "run")
