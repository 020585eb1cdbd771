"""Jobs that are ended before they are done: which tasks are marked, what is recorded, and what is said."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from kd_runner.errors import TERMINATED
from kd_runner.files import atomic
from kd_runner.files.run_folder import LOG, RESULT
from kd_runner.sweeps import early_end
from kd_runner.sweeps.early_end import AFTER_FAILURE, BY_COMMAND, EarlyEnd, JobNotRun, end_message, failure_of
from kd_runner.sweeps.engines.task import Slot, Task, drop_unwanted
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.packs.tasks import LEFT_OUT, pack_task
from kd_runner.sweeps.stop_requests import ask, take_answer

SLOT = Slot(0, "cpu")


def sweep_of(
    folder: Path, count: int, packed: Sequence[int] = (), fail_fast: bool = False
) -> tuple[EarlyEnd, dict[int, Task], list[Task]]:
    """A sweep of `count` jobs that have one training in common; the jobs `packed` are one pack."""
    jobs = {number: Job(number, [f"seed={number}"], [], {}, folder / str(number)) for number in range(count)}
    training = Task("teacher", folder / "networks", [], [], serves=frozenset(range(count)))
    tasks = {number: Task(job.name, job.folder, [], [], after=[training]) for number, job in jobs.items()}
    packs = [pack_task([tasks[number] for number in packed], folder, None)] if packed else []
    scheduled = [training, *packs, *(task for number, task in tasks.items() if number not in packed)]
    live_view = LiveView(count)
    live_view.jobs = {job.name: job for job in jobs.values()}
    return EarlyEnd(jobs, tasks, scheduled, folder, fail_fast, live_view), tasks, scheduled


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_end, "LOOK", 0.0)


def run_to(early: EarlyEnd, task: Task, code: int, status: str = "") -> None:
    """Have a task start, and end with an exit code, and its folder hold a result."""
    task.slot, task.attempts = SLOT, 1
    if status:
        task.folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(task.folder / RESULT, {"status": status, "overrides": ["seed=x"]})
        (task.folder / LOG).touch()
    task.code = code
    early.notify("end", task)


def test_the_first_job_that_fails_ends_the_sweep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    early, tasks, scheduled = sweep_of(tmp_path, 5, packed=(2, 3), fail_fast=True)
    run_to(early, scheduled[0], 1)  # a job that lacks its teacher trains it
    run_to(early, tasks[0], 0, "completed")
    assert not any(task.unwanted for task in scheduled)
    run_to(early, tasks[1], 1, "failed")
    assert [task.unwanted for task in tasks.values()] == [False, False, True, True, True]
    assert [task.unwanted for task in scheduled] == [False, True, False, False, True]
    assert {tasks[number].why_unwanted for number in (2, 3, 4)} == {AFTER_FAILURE}
    assert caplog.text.count("ending    the sweep: #1 (seed=1) has failed") == 1
    early.close()
    assert not (tmp_path / "4").exists()  # it is not started, and no report says that somebody stopped it


def test_a_failed_job_of_a_pack_ends_the_sweep_too(tmp_path: Path) -> None:
    early, tasks, (_, pack, other) = sweep_of(tmp_path, 3, packed=(0, 1), fail_fast=True)
    pack.slot, pack.attempts = SLOT, 1
    pack.folder.mkdir(parents=True)
    atomic.write_json(pack.folder / "ended.json", {"#1": {"code": 1, "seconds": 1.0}})
    early.tick([pack])
    assert (tasks[0].unwanted, tasks[1].unwanted, pack.unwanted, other.unwanted) == (True, False, True, True)


def test_without_fail_fast_a_failed_job_ends_nothing(tmp_path: Path) -> None:
    early, tasks, _ = sweep_of(tmp_path, 2)
    run_to(early, tasks[0], 1, "failed")
    assert not tasks[1].unwanted


def test_jobs_are_stopped_by_their_numbers(tmp_path: Path) -> None:
    early, tasks, (training, pack, *_) = sweep_of(tmp_path, 6, packed=(3, 4))
    run_to(early, tasks[0], 0, "completed")
    tasks[1].slot, tasks[1].attempts = SLOT, 1
    request = ask(tmp_path, [0, 1, 2, 3, 77])
    early.tick([tasks[1]])
    assert take_answer(request) == {"ended": [1], "skipped": [2, 3], "over": [0, 77]}
    assert [number for number, task in tasks.items() if task.unwanted] == [1, 2, 3]
    assert not training.unwanted
    assert not pack.unwanted
    assert atomic.read_json(pack.folder / LEFT_OUT) == {"jobs": ["#3"]}
    waiting = [tasks[2], tasks[5]]
    drop_unwanted(waiting)
    assert (waiting, tasks[2].code) == ([tasks[5]], TERMINATED)
    run_to(early, tasks[1], TERMINATED, "interrupted")
    early.tick([])
    records = [atomic.read_json(tmp_path / str(number) / RESULT) for number in (0, 1, 2)]
    assert [record["status"] for record in records] == ["completed", "stopped", "stopped"]
    assert records[1] == {"status": "stopped", "overrides": ["seed=x"], "error": BY_COMMAND}
    assert records[2] == {"status": "stopped", "overrides": ["seed=2"], "error": BY_COMMAND}


def test_what_a_cluster_ends_in_its_queue_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Slurm and Ray also tell of the end of tasks that they had not started."""
    caplog.set_level(logging.INFO)
    early, tasks, (training, *_) = sweep_of(tmp_path, 3)
    ask(tmp_path, [1])
    early.tick([])
    tasks[1].slot, tasks[1].code = SLOT, TERMINATED
    early.notify("end", tasks[1])
    ask(tmp_path, None)
    ask(tmp_path, None)
    early.tick([])
    for task in (training, tasks[0], tasks[2]):
        task.slot, task.code = SLOT, TERMINATED
        early.notify("end", task)
    early.close()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "ending    #1: kd-runner stop asked for it",
        "stopped   #1 (seed=1) in 0:00: before it started [1 of 3]",
        "ending    the sweep: kd-runner stop asked for it",
    ]


def test_a_pack_and_a_training_that_nobody_needs_any_longer_end(tmp_path: Path) -> None:
    early, _, (training, pack, other) = sweep_of(tmp_path, 3, packed=(0, 1))
    ask(tmp_path, [0, 1])
    early.tick([])
    assert (training.unwanted, pack.unwanted, other.unwanted) == (False, True, False)
    ask(tmp_path, [2])
    early.tick([])
    assert training.unwanted


def test_the_whole_sweep_is_stopped(tmp_path: Path) -> None:
    early, tasks, scheduled = sweep_of(tmp_path, 3)
    tasks[0].slot, tasks[0].attempts = SLOT, 1
    request = ask(tmp_path, None)
    early.tick([tasks[0]])
    assert take_answer(request) == {"all": True, "ended": [0, 1, 2]}
    assert all(task.unwanted for task in scheduled)
    run_to(early, tasks[0], TERMINATED, "interrupted")
    early.close()
    assert atomic.read_json(tmp_path / "0" / RESULT)["status"] == "stopped"
    assert not (tmp_path / "1").exists()


def test_the_record_of_a_job_that_did_not_start_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    jobs = [Job(number, [], [], {}, tmp_path / str(number)) for number in range(4)]
    for job, status in zip(jobs[:3], ("stopped", "stopped", "failed"), strict=True):
        job.folder.mkdir()
        atomic.write_json(job.folder / RESULT, {"status": status})
    (jobs[1].folder / LOG).touch()
    early_end.forget_stops(jobs)
    assert [job.folder.exists() for job in jobs] == [False, True, True, False]
    assert (jobs[1].folder / RESULT).exists()


def test_the_end_says_in_one_line_what_was_not_run(tmp_path: Path) -> None:
    job = Job(1, ["seed=1"], [], {}, tmp_path / "1")
    failures = [failure_of(job, "it broke")]
    for number in (3, 2, 4):
        task = Task("", tmp_path, [], [], unwanted=True, why_unwanted=AFTER_FAILURE)
        other = Job(number, [], [], {}, tmp_path / str(number))
        failures.append(failure_of(other, early_end.stop_reason(other, task)))
    assert isinstance(failures[-1], JobNotRun)
    assert end_message(9, failures, "; to go on: x") == [
        "4 of 9 jobs have no result; to go on: x",
        "#1 (seed=1): it broke",
        "#2 to #4: not started: another job had failed (hydra.launcher.fail_fast)",
    ]


def test_one_reason_of_several_jobs_is_said_once(tmp_path: Path) -> None:
    jobs = [Job(number, [f"seed={number}"], [], {}, tmp_path / str(number)) for number in range(200)]
    assert end_message(4, [failure_of(jobs[number], "it broke") for number in (0, 1, 3)], "") == [
        "3 of 4 jobs have no result",
        "#0 to #1, #3: it broke",
    ]
    assert end_message(2, [failure_of(jobs[1], "it broke")], "")[0] == "1 of 2 jobs has no result"
    everyone = end_message(200, [failure_of(job, f"it broke {job.number % 2}") for job in jobs], "")
    assert everyone[1:] == [f"100 jobs, such as #{number} (seed={number}): it broke {number}" for number in (0, 1)]
    many = end_message(200, [failure_of(job, f"reason {job.number}") for job in jobs[:12]], "")
    assert (len(many), many[-1]) == (12, "and 2 more jobs, for other reasons")
