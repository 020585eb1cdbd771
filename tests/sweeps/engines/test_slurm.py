"""Slurm's queue, played: what is asked of it, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kd_runner.errors import RunFailed, SettingsError
from kd_runner.sweeps.engines.task import Task


def engine_in(folder: Path) -> Any:
    slurm = pytest.importorskip("kd_runner.sweeps.engines.slurm")
    fields = dict.fromkeys(("partition", "account", "qos", "constraint", "mem_gb"))
    names = ("cpus_per_task", "timeout_min", "signal_delay_s", "gpus_per_node", "max_num_timeout", "retries")
    numbers = {**dict.fromkeys(names, 1), "array_parallelism": 9}
    settings = slurm.SlurmSettings(**fields, **numbers, setup=[], additional_parameters={})
    return slurm.SlurmEngine(settings, folder)


def queued_in(folder: Path) -> Any:
    return json.loads((folder / ".slurm" / "queued.json").read_text())


def test_what_is_queued_is_queued_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is proposed later than the first task, and what a driver had taken over from one before it."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")
    slurm = pytest.importorskip("kd_runner.sweeps.engines.slurm")
    jobs = {f"#{number}": f"10_{number}" for number in range(3)}
    (tmp_path / ".slurm").mkdir()
    (tmp_path / ".slurm" / "queued.json").write_text(json.dumps(jobs))
    monkeypatch.setattr(slurm, "in_queue", lambda: set(jobs.values()))
    monkeypatch.setattr(slurm, "LOOK", 0)
    submitted: list[str] = []

    def submit(tasks: Sequence[Task], _: Sequence[str]) -> list[str]:
        submitted.extend(task.name for task in tasks)
        return [f"99_{task.name[1:]}" for task in tasks]

    def killed(_: Sequence[Task]) -> None:
        raise KeyboardInterrupt

    def run(engine: Any) -> None:
        tasks = [Task(f"#{number}", tmp_path / str(number), [], []) for number in range(4)]
        monkeypatch.setattr(engine, "_submit_array", submit)
        with pytest.raises(KeyboardInterrupt):
            engine.run(tasks[:1], lambda *_: None, killed, lambda: tasks.pop(1) if len(tasks) > 1 else None)

    alone = engine_in(tmp_path)
    run(alone)
    assert submitted == ["#3"]
    assert queued_in(tmp_path) == {**jobs, "#3": "99_3"}
    second = engine_in(tmp_path / "second")
    second.adopt(tmp_path)
    jobs["#3"] = "99_3"
    second.adopt(tmp_path)  # asks Slurm once
    run(second)
    assert submitted == ["#3", "#3"]  # the queue did not have it when the driver looked
    third = engine_in(tmp_path / "third")
    third.adopt(tmp_path / "second")
    run(third)
    assert submitted == ["#3", "#3"]
    for engine in (second, third):  # where submitit has written the files of these jobs
        path = engine._job(Task("#1", tmp_path / "1", [], [])).paths.result_pickle
        assert path == tmp_path / ".slurm" / "10_1" / "10_1_0_result.pkl"
    again = engine_in(tmp_path / "third")
    run(again)
    assert again._job(Task("#3", tmp_path / "3", [], [])).paths.folder == tmp_path / "second" / ".slurm" / "99_3"


def test_a_queue_that_does_not_answer_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = pytest.importorskip("kd_runner.sweeps.engines.slurm")
    queue = engine_in(tmp_path)
    monkeypatch.setattr(slurm, "in_queue", lambda: None)
    queue.refuse_running()  # nothing was ever queued from here
    (tmp_path / slurm.SLURM_FOLDER).mkdir()
    (tmp_path / slurm.SLURM_FOLDER / slurm.QUEUED).write_text(json.dumps({"#0": "12_0", "#1": "12_1"}))
    with pytest.raises(RunFailed, match="Slurm does not answer"):
        queue.refuse_running()
    with pytest.raises(RunFailed, match="Slurm does not answer"):
        queue.run([Task("#0", tmp_path / "0", [], [])], lambda *_: None, lambda _: None)
    monkeypatch.setattr(slurm, "in_queue", lambda: {"12_1"})
    with pytest.raises(SettingsError, match="end them with scancel 12"):
        queue.refuse_running()
    monkeypatch.setattr(slurm, "in_queue", lambda: {"13_1"})
    queue.refuse_running()


def test_a_job_of_an_array_names_itself_alone() -> None:
    """The last job of array 10 has 10 as its SLURM_JOB_ID, by which Slurm would name all of its jobs."""
    slurm = pytest.importorskip("kd_runner.sweeps.engines.slurm")
    array = {"SLURM_JOB_ID": "10", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "4"}
    assert slurm._own_id(array) == "10_4"
    assert slurm._own_id({"SLURM_JOB_ID": "9"}) == "9"
    assert slurm._own_id({}) == ""
