"""A trial's command in the process that runs it, which no other process does at the same time or again.

A driver takes over the trials of one that has ended. The process of such a trial may live for a while longer, and on
Slurm it stays: whoever comes second waits here for its end, and has nothing to do where it has completed the trial.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_runner.errors import COMPLETED
from kd_runner.files import atomic
from kd_runner.files.locks import NO_LOCKS, WITHOUT_LOCKS, lock_of
from kd_runner.files.run_folder import RESULT, holds_a_run
from kd_runner.sweeps.engines.task import Task

CALL = "kd_runner.sweeps.search.guarded:run_guarded"


def guarded_task(task: Task, lock: Path) -> Task:
    """The task, which holds a lock while it runs."""
    words = [str(lock), str(task.folder), task.call, json.dumps(list(task.words)), json.dumps(list(task.again))]
    return replace(task, words=words, again=words, call=CALL)


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Keep other processes from this block; where the file system has no locks, as in any sweep there, nobody does."""
    lock = lock_of(Path(path))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except NO_LOCKS as error:
        if isinstance(error, OSError) and error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def run_guarded(words: Sequence[str], companions: Any = None) -> int:
    """Run the command of a task from `guarded_task` once nobody else does; returns its exit code."""
    lock, folder, call, first, again = words
    with _alone(lock):
        if atomic.read_json(Path(folder) / RESULT).get("status") == "completed":
            return COMPLETED
        module, _, name = call.partition(":")
        function = getattr(importlib.import_module(module), name)
        return int(function(json.loads(again if holds_a_run(Path(folder)) else first), companions))
