"""One process at a time does a run."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock

from kd_runner.config.settings import Settings
from kd_runner.errors import BAD_SETTINGS, SettingsError
from kd_runner.files.folder_checks import refuse_no_run, refuse_running, refuse_used_folder
from kd_runner.files.run_folder import LOG, RESULT, RUN_LOCK, SETTINGS
from kd_runner.notes import collected_notes
from kd_runner.runs.resume.exclusive_run import exclusive_run
from kd_runner.runs.run import failure_written, run
from kd_runner.runs.run_state import RunState
from kd_runner.training.distiller import Distiller

OTHER = "another process does the run in .*: wait for its end, or end it and then go on with it$"
HELD = """
import sys
from pathlib import Path
from kd_runner.runs.resume.exclusive_run import exclusive_run
with exclusive_run(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "run"
    with exclusive_run(folder):
        with pytest.raises(SettingsError, match=f"^resume: {OTHER}"), exclusive_run(folder, resumed=True):
            pass
        with pytest.raises(SettingsError, match=rf"^hydra\.run\.dir: {OTHER}"), exclusive_run(folder):
            pass
        (folder / SETTINGS).touch()
    assert (folder / RUN_LOCK).is_file()  # of a run that began, and goes on
    with exclusive_run(folder, resumed=True):
        (folder / RESULT).write_text('{"status": "completed"}')
    assert not (folder / RUN_LOCK).exists()
    with exclusive_run(folder, resumed=True):  # it stands, and nothing is written there
        assert sorted(path.name for path in folder.iterdir()) == [RESULT, SETTINGS]


def test_where_no_run_began_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(SettingsError), exclusive_run(tmp_path / "above" / "run"):
        raise SettingsError("a setting that cannot work")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals are those of Unix")
def test_the_lock_ends_with_a_killed_process_and_its_file_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(SettingsError, match=f"^resume: {OTHER}"):
        refuse_running(folder)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (folder / RUN_LOCK).is_file()
    for check in (refuse_used_folder, refuse_no_run, refuse_running):
        check(folder)
    with exclusive_run(folder, resumed=True):
        pass


@pytest.mark.parametrize(
    "error", [NotImplementedError("flock"), *(OSError(n, os.strerror(n)) for n in (errno.ENOLCK, errno.ENOSYS))]
)
def test_a_folder_without_locks_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def acquire(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with collected_notes() as notes, exclusive_run(tmp_path / "run"):
        (tmp_path / "run" / RUN_LOCK).touch()
        refuse_running(tmp_path / "run")
    assert notes == [f"the file system of {tmp_path / 'run'} has no locks: do not go on with this run while it runs"]


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is Unix's")
def test_no_file_stands_for_a_lock_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def flock(*_: object) -> NoReturn:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with collected_notes() as notes, exclusive_run(tmp_path), exclusive_run(tmp_path):
        pass
    assert len(notes) == 1


def test_a_second_command_does_not_touch_the_run(
    settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, refused = tmp_path / "run", []
    words = ("teacher=mlp", "student=mlp", "baseline=false")
    losses = Distiller.losses

    def watched(self: Distiller, *arguments: Any) -> Any:
        if not refused:
            before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
            command = [sys.executable, "-m", "kd_runner", f"resume={folder}"]  # Hydra's loggers end with its process
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            refused.append((done.returncode, done.stderr))
            with pytest.raises(SettingsError, match=f"^resume: {OTHER}"):
                run(settings(*words, f"resume={folder}"), folder, words)
            assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        return losses(self, *arguments)

    monkeypatch.setattr(Distiller, "losses", watched)
    first = run(settings(*words), folder, words)
    assert refused[0][0] == BAD_SETTINGS
    assert re.fullmatch(f"kd-runner: resume: {OTHER}", refused[0][1].removesuffix("\n"))
    assert json.loads((folder / RESULT).read_text()) == first
    assert not (folder / RUN_LOCK).exists()
    assert not (folder / LOG).exists()


def test_a_failure_does_not_replace_a_completed_result(tmp_path: Path) -> None:
    for before, after in (("completed", "completed"), ("interrupted", "failed")):
        (tmp_path / RESULT).write_text(json.dumps({"status": before}))
        with pytest.raises(ZeroDivisionError), failure_written({}, tmp_path, RunState()):
            raise ZeroDivisionError
        assert json.loads((tmp_path / RESULT).read_text())["status"] == after
