"""A killed job of Slurm's, played: it is put into the queue again, as the pool and Ray do. No real Slurm."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import QUEUED, SLURM
from kd_runner.sweeps.engines import slurm
from kd_runner.sweeps.engines.task import Task


class Queue:
    """A queue in which every job that is not to succeed leaves no result."""

    def __init__(self, folder: Path, states: Sequence[str]) -> None:
        self.folder, self.states, self.submitted = folder, list(states), 0

    def submit(self, tasks: Sequence[Task], _: Sequence[str]) -> list[str]:
        ids = [f"{100 + self.submitted + number}" for number in range(len(tasks))]
        self.submitted += len(tasks)
        (self.folder / SLURM).mkdir(exist_ok=True)
        return ids

    def state(self, job: str) -> str:
        return self.states[int(job) - 100]

    def job(self, name: str) -> Any:
        result = self.folder / SLURM / f"{name}_0_result.pkl"
        if self.state(name) == "COMPLETED":
            result.write_bytes(pickle.dumps(("success", 0)))
        return SimpleNamespace(job_id=name, paths=SimpleNamespace(result_pickle=result))


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Task, list[str], Queue]]:
    """Runs a task whose jobs end in these states; gives the task, what was told of it, and the queue."""

    def play(*states: str, retries: int = 1, refused: bool = False) -> tuple[Task, list[str], Queue]:
        fields = dict.fromkeys(("partition", "account", "qos", "constraint", "mem_gb"))
        names = ("cpus_per_task", "timeout_min", "signal_delay_s", "array_parallelism", "gpus_per_node")
        numbers = dict.fromkeys((*names, "max_num_timeout"), 1) | {"retries": retries}
        settings = slurm.SlurmSettings(**fields, **numbers, setup=[], additional_parameters={})  # type: ignore[arg-type]
        engine, queue = slurm.SlurmEngine(settings, tmp_path), Queue(tmp_path, states)

        def submit(tasks: Sequence[Task], needed: Sequence[str]) -> list[str]:
            if refused and queue.submitted:
                raise SettingsError("hydra.launcher: Slurm refused the jobs: no partition")
            return queue.submit(tasks, needed)

        def job_of(task: Task) -> Any:
            return engine._jobs.setdefault(task.name, queue.job(engine.queued[task.name]))

        for name, function in (("_submit_array", submit), ("_job", job_of)):
            monkeypatch.setattr(engine, name, function)
        for name, value in (("LOOK", 0), ("ASK", -1), ("in_queue", set), ("state_of_job", queue.state)):
            monkeypatch.setattr(slurm, name, value)
        told: list[str] = []
        task = Task("#0", tmp_path / "0", [], [])
        engine.run([task], lambda event, _: told.append(event), lambda _: None)
        recorded = json.loads((tmp_path / SLURM / QUEUED).read_text())
        assert recorded == engine.queued
        return task, told, queue

    return play


@pytest.mark.parametrize("state", ["FAILED (NonZeroExitCode)", "OUT_OF_MEMORY", "NODE_FAIL"])
def test_a_killed_job_goes_on(played: Callable[..., tuple[Task, list[str], Queue]], state: str) -> None:
    task, told, queue = played(state, "COMPLETED")
    assert (task.code, told, queue.submitted) == (0, ["retry", "end"], 2)


def test_a_job_that_is_killed_too_often_has_failed(played: Callable[..., tuple[Task, list[str], Queue]]) -> None:
    task, told, queue = played("FAILED", "OUT_OF_MEMORY", "FAILED", retries=2)
    assert (task.code, told, queue.submitted) == (1, ["retry", "retry", "end"], 3)
    assert task.reason.startswith("Slurm ended it, 3 times: FAILED; see ")


@pytest.mark.parametrize("state", ["CANCELLED", "TIMEOUT", "it is not known any more", "PREEMPTED"])
def test_what_a_person_ended_is_not_started_again(
    played: Callable[..., tuple[Task, list[str], Queue]], state: str
) -> None:
    task, told, queue = played(state)
    assert (task.code, told, queue.submitted) == (1, ["end"], 1)


def test_no_retries_where_none_are_wanted_or_taken(played: Callable[..., tuple[Task, list[str], Queue]]) -> None:
    task, told, queue = played("FAILED", retries=0)
    assert (task.code, told, queue.submitted) == (1, ["end"], 1)
    task, told, queue = played("FAILED", refused=True)
    assert (task.code, told, queue.submitted) == (1, ["end"], 1)
