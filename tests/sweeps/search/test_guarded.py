"""A trial's command runs in one process at a time, and not again once it has completed."""

from __future__ import annotations

import errno
import json
import sys
import threading
import types
from pathlib import Path

import pytest
from filelock import FileLock

from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.search.guarded import guarded_task, run_guarded


def test_one_process_runs_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    module = types.ModuleType("played_command")
    module.command = lambda words, companions: called.append(words) or 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "played_command", module)
    lock, folder = tmp_path / "run_3.lock", tmp_path / "3"
    folder.mkdir()
    task = guarded_task(Task("#3", folder, ["first"], ["again"], call="played_command:command"), lock)
    assert (task.name, task.words) == ("#3", task.again)
    assert run_guarded(task.words) == 7
    (folder / "settings.json").touch()
    other = FileLock(lock)
    other.acquire()
    thread = threading.Thread(target=run_guarded, args=[task.words])
    thread.start()
    thread.join(0.2)
    assert called == [["first"]]
    other.release()
    thread.join()
    assert called == [["first"], ["again"]]
    (folder / "result.json").write_text(json.dumps({"status": "completed"}))
    assert run_guarded(task.words) == 0
    assert len(called) == 2


def test_a_file_system_without_locks_has_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    (tmp_path / "result.json").write_text(json.dumps({"status": "completed"}))
    task = guarded_task(Task("#3", tmp_path, [], []), tmp_path / ".drivers" / "run_3.lock")
    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert run_guarded(task.words) == 0
