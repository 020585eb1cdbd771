"""Weights & Biases, MLflow and Trackio themselves: a sweep in all of them, and a run that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tracker_files
from jobs import Job
from logged_scalars import scalars
from tracker_files import Kept, table

from kd_runner.tracking.tracker_clients import wandb_mode

READERS: dict[str, Callable[[Path], dict[str, Kept]]] = {
    "wandb": tracker_files.wandb_runs,
    "mlflow": tracker_files.mlflow_runs,
    "trackio": tracker_files.trackio_runs,
}
SHORT = ("student=mlp", "student.epochs=2", "teacher=mlp", "teacher.hidden=[16]", "teacher.epochs=2", "store=store")
ALL = "tracking.loggers=[tensorboard,csv,wandb,mlflow,trackio]"


@pytest.fixture
def no_settings_of_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody has logged in anywhere, and the trackers that are not installed are a reason to skip."""
    for name in READERS:
        pytest.importorskip(name, reason=f"no {name}: pip install 'kd-runner[{name}]'")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in list(os.environ):
        if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_")):
            monkeypatch.delenv(name)


def equal(value: Any, other: Any) -> bool:
    """True for the same number; TensorBoard has 32 bits."""
    return value == other or value == pytest.approx(other, rel=1e-6)


def is_closed(folder: Path) -> bool:
    """True where MLflow says that the run in a folder was killed."""
    try:
        return [run.status for run in READERS["mlflow"](folder).values()] == ["KILLED"]
    except sqlite3.OperationalError:  # the database is being made
        return False


@pytest.mark.slow
@pytest.mark.usefixtures("no_settings_of_a_person")
def test_a_sweep_has_the_same_numbers_in_all_trackers(tmp_path: Path) -> None:
    job = Job(tmp_path, "-m", *SHORT, "distillation=soft,dkd", ALL, "hydra.sweep.dir=sweep", "tracking.images=false")
    assert job.wait(500) == 0, job.text("err")
    assert "note" not in job.text("out")
    sweep = tmp_path / "sweep"
    for name, read in READERS.items():
        runs = {run.name: run for run in read(sweep).values()}
        assert sorted(runs) == ["0_soft", "1_dkd"], name
        for number, (_, run) in enumerate(sorted(runs.items())):
            folder = sweep / str(number)
            result = json.loads((folder / "result.json").read_text())
            assert run.group == "sweep"
            assert run.epochs == table(folder), name
            assert run.final["final/student_accuracy"] == result["student"]["accuracy"]
            assert run.final["final/nll"] == result["student"]["nll"]
            assert run.final["final/seconds"] == result["seconds"]["student"]
            assert str(run.settings["student.epochs"]) == "2"
            assert run.status in {"wandb": ["completed"], "mlflow": ["FINISHED"], "trackio": [""]}[name]
            curves = scalars(sweep / "tensorboard" / run.name) | scalars(sweep / "tensorboard" / "teacher_mlp_s0")
            for tag in ("student/val_loss", "student/val_accuracy", "student/test_accuracy", "teacher/val_loss"):
                stage, _, metric = tag.partition("/")
                for step, value in curves[tag]:
                    assert equal(value, run.epochs[stage, step][metric])
            for metric, value in run.final.items():
                assert equal(scalars(sweep / "tensorboard" / run.name)[metric][0][1], value)


@pytest.mark.slow
@pytest.mark.usefixtures("no_settings_of_a_person")
def test_a_run_that_is_killed_is_one_run_in_all_trackers(tmp_path: Path) -> None:
    words = (*SHORT, "student.epochs=100", "baseline=false", ALL, "hydra.run.dir=run", "tracking.images=false")
    job, folder = Job(tmp_path, *words), tmp_path / "run"
    deadline = time.monotonic() + 200
    while not (folder / "metrics.csv").exists() or ("student", 5) not in table(folder):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert job.process.pid is not None
    os.kill(job.process.pid, signal.SIGKILL)
    while not is_closed(folder):  # by the process that feeds MLflow, which outlives the run
        assert time.monotonic() < deadline
        time.sleep(0.5)
    job = Job(tmp_path, "resume=run", out="again")
    assert job.wait(500) == 0, job.text("err")
    expected = table(folder)
    assert len(expected) == 102
    for name, read in READERS.items():
        (run,) = read(folder).values()
        assert run.epochs.keys() == expected.keys(), name
        assert all(run.epochs[key].keys() == expected[key].keys() for key in expected)
        assert all(run.epochs[key]["val_loss"] == expected[key]["val_loss"] for key in expected)
        assert run.status in {"wandb": ["completed"], "mlflow": ["FINISHED"], "trackio": [""]}[name]


@pytest.mark.parametrize(
    ("variables", "login", "mode"),
    [
        ({}, "", "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "abc"}, "", "disabled"),
        ({"WANDB_API_KEY": "abc"}, "", "online"),
        ({}, "machine api.wandb.ai login user password abc", "online"),
        ({}, "machine elsewhere login user password abc", "offline"),
        ({"WANDB_BASE_URL": "https://elsewhere"}, "machine elsewhere login user password abc", "online"),
    ],
)
def test_nothing_is_sent_without_a_login(
    variables: dict[str, str], login: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "netrc").write_text(login)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_mode() == mode
