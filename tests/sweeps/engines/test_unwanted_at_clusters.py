"""Tasks that nobody needs any longer, in a queue of Slurm's and on a Ray cluster that are played."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kd_runner.errors import TERMINATED
from kd_runner.sweeps.engines import slurm
from kd_runner.sweeps.engines.ray_cluster import RayEngine, RaySettings
from kd_runner.sweeps.engines.task import Task


def tasks_in(folder: Path, count: int) -> list[Task]:
    return [Task(f"#{number}", folder / str(number), [], []) for number in range(count)]


def test_slurm_is_asked_once_to_end_what_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = slurm.SlurmEngine.__new__(slurm.SlurmEngine), list[tuple[str, ...]]()
    tasks = tasks_in(tmp_path, 3)
    engine.queued = {task.name: f"7_{number}" for number, task in enumerate(tasks)}

    def ask(*command: str) -> str:
        asked.append(command)
        return ""

    monkeypatch.setattr(slurm, "_ask_slurm", ask)
    tasks[0].unwanted = tasks[2].unwanted = True
    engine._cancel_unwanted(tasks)
    engine._cancel_unwanted(tasks)
    assert asked == [("scancel", "7_0", "7_2")]
    job = SimpleNamespace(job_id="7_0", paths=SimpleNamespace(result_pickle=tmp_path / "none"))
    engine.settings, engine._retries = SimpleNamespace(retries=5), {}  # type: ignore[assignment]
    monkeypatch.setattr(engine, "_job", lambda task: job)
    monkeypatch.setattr(slurm, "state_of_job", lambda job: "FAILED")
    assert not engine._goes_on(tasks[0])


def test_ray_cancels_what_runs_and_does_not_start_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, cancelled = tasks_in(tmp_path, 3), list[str]()
    tasks[2].after = [tasks[0]]

    class Ray(SimpleNamespace):
        exceptions = SimpleNamespace(RayTaskError=KeyError, TaskCancelledError=ZeroDivisionError, RayError=OSError)

        def wait(self, references: Sequence[str], **_: Any) -> tuple[list[str], list[str]]:
            return [reference for reference in references if reference in cancelled or reference == "#1"], []

        def cancel(self, reference: str) -> None:
            cancelled.append(reference)

        def get(self, reference: str) -> tuple[int, bool]:
            if reference in cancelled:
                raise ZeroDivisionError("This task was cancelled")
            return 0, False

    monkeypatch.setitem(sys.modules, "ray", Ray())
    names = ("address", "gpus_per_job", "num_gpus", "num_cpus", "timeout_s")
    engine = RayEngine(RaySettings(**dict.fromkeys(names), cpus_per_job=1, grace_s=1.0, retries=1))  # type: ignore[arg-type]
    monkeypatch.setattr(engine, "_submit", lambda remote, task: task.name)

    def tick(running: Sequence[Task]) -> None:
        tasks[0].unwanted = tasks[2].unwanted = True

    engine._run_tasks(None, tasks, lambda event, task: None, tick, lambda: None)
    assert cancelled == ["#0"]
    assert [task.code for task in tasks] == [TERMINATED, 0, TERMINATED]
