"""Jobs and the tasks that they become."""

from __future__ import annotations

import json
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from kd_runner.sweeps.jobs import Job, completed_result, task_of, training_tasks


def test_a_result_counts_where_the_job_completed(tmp_path: Path) -> None:
    job = Job(0, [], [], {}, tmp_path)
    assert completed_result(job) is None
    for status in ("interrupted", "failed", "pruned"):
        (tmp_path / "result.json").write_text(json.dumps({"status": status}))
        assert completed_result(job) is None
    (tmp_path / "result.json").write_text(json.dumps({"status": "completed", "seconds": 3}))
    assert completed_result(job) == {"status": "completed", "seconds": 3}


def test_a_network_of_several_jobs_is_trained_once(tmp_path: Path) -> None:
    missing = {
        "abc": {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["0", "2"]},
        "def": {"stage": "baseline", "name": "cnn, seed 0", "jobs": ["1"]},
    }
    tasks = training_tasks(missing, [], tmp_path, {"HOME": "here"})
    assert list(tasks) == ["abc"]  # job 1 trains its baseline itself
    task = tasks["abc"]
    assert (task.name, task.serves, task.variables) == ("teacher cnn, seed 0", {0, 2}, {"HOME": "here"})
    folder = tmp_path / "networks" / "teacher_abc"
    assert task.words == [str(tmp_path / ".check" / "jobs.json"), "0", "teacher", str(folder)]
    assert task.folder == folder


def test_networks_that_are_alike_are_named_by_what_their_jobs_have(tmp_path: Path) -> None:
    jobs = [Job(number, [f"teacher.epochs={number // 2}"], [], {}, tmp_path / str(number)) for number in range(4)]
    network = {"stage": "teacher", "name": "cnn, seed 0"}
    missing = {"abc": {**network, "jobs": ["0", "1"]}, "def": {**network, "jobs": ["2", "3"]}}
    names = [task.name for task in training_tasks(missing, jobs, tmp_path, {}).values()]
    assert names == [f"teacher cnn, seed 0 (teacher.epochs={epochs})" for epochs in (0, 1)]


def test_a_job_is_a_command_that_waits_for_its_networks(tmp_path: Path) -> None:
    job = Job(2, ["seed=1"], ["student=cnn"], {}, tmp_path / 'a"b\\c')
    missing = {"abc": {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["0", "2"]}}
    training = training_tasks(missing, [], tmp_path, {})
    task = task_of(job, training, ["--config-dir", "conf"])
    folder = f'{tmp_path}/a\\"b\\c'
    read = OverridesParser.create().parse_override(f'resume="{folder}"')
    assert read.value() == str(job.folder)
    first = [f'hydra.run.dir="{folder}"', "hydra.output_subdir=null"]
    assert task.words == ["--config-dir", "conf", "student=cnn", "seed=1", *first]
    assert task.again == ["--config-dir", "conf", "student=cnn", "seed=1", f'resume="{folder}"']
    assert task.after == [training["abc"]]
    assert task_of(Job(1, [], [], {}, tmp_path / "1"), training, []).after == []
