"""Sweeps on one machine: every job on a slot of its own, none lost, all failures named, nothing left running."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import numbers_of, result_in
from sweep_commands import NAUGHTY_WORDS, SHORT, naughty_folder, processes_in, started, swept  # noqa: F401

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import LOCK
from kd_runner.sweeps.grid import run_grid
from kd_runner.sweeps.jobs import Job


def test_a_sweep_shares_what_several_jobs_need(tmp_path: Path) -> None:
    words = ("temperature.value=1,4", "distillation=soft,hard", *SHORT, "baseline=true")
    out, err = swept(tmp_path, *words)
    assert err == ""
    assert len(re.findall(r"start     (teacher|baseline) .+ on cpu", out)) == 2
    results = [result_in(tmp_path / "sweep" / str(job)) for job in range(4)]
    assert len({result["teacher"]["nll"] for result in results}) == 1
    assert len({result["student"]["nll"] for result in results}) == 3  # hard looks at no temperature
    logs = [(tmp_path / "sweep" / str(job) / "kd-runner.log").read_text() for job in range(4)]
    assert all("teacher   epoch" not in log and "baseline  epoch" not in log for log in logs)
    assert results[1]["overrides"] == [
        *SHORT[:2],
        "baseline=True",
        "store=store",
        "tracking.images=False",
        "temperature.value=1",
        "distillation=hard",
    ]
    out, _ = swept(tmp_path, "resume=sweep")
    assert "4 of 4 jobs were completed before" in out
    assert "start     " not in out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_two_jobs_share_a_gpu(tmp_path: Path) -> None:
    words = ("seed=0,1", "hydra.launcher.devices=[0]", "hydra.launcher.jobs_per_device=2", "trainer.accelerator=gpu")
    out, err = swept(tmp_path, *words, *SHORT)
    assert err == ""
    assert "2 at a time on " in out
    results = [result_in(tmp_path / "sweep" / str(job)) for job in range(2)]
    assert {result["environment"]["device"] for result in results} == {torch.cuda.get_device_name()}
    alone, _ = swept(tmp_path, *words[:2], words[3], *SHORT[:3], "hydra.sweep.dir=alone", "store=other")
    assert "1 at a time on " in alone
    results += [result_in(tmp_path / "alone" / str(job)) for job in range(2)]
    for result in results:
        del result["environment"]["threads"]  # each has its share of the CPU
    together_and_alone = [numbers_of(result) for result in results]
    assert together_and_alone[2:] == together_and_alone[:2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_modes_that_read_with_the_teachers_last_layer_share_a_teacher_on_a_gpu(tmp_path: Path) -> None:
    words = ("distillation=srrl,simkd,catkd,sdd", "teacher.hidden=[]", "trainer.accelerator=gpu")
    out, err = swept(tmp_path, *words, *SHORT, "hydra.launcher.jobs_per_device=1")
    assert err == ""
    assert "4 side by side" in out
    assert all((tmp_path / "sweep" / str(job) / "student_best.safetensors").is_file() for job in range(4))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("temperature.value=1,0,2",), "job #1 (temperature.value=0): temperature.value must be at least 0.001"),
        (("teacher.epochs=1,abc",), "job #1 (teacher.epochs=abc): teacher.epochs: must be a valid integer"),
        (
            ("student=cnn", "student.layers=[],[nope]"),
            "job #1 (student.layers=[nope]): student.layers: no layer 'nope'",
        ),
        (("seed=0,1", "hydra.launcher.devices=3"), "hydra.launcher.devices: must be auto, cpu or a list"),
        (
            ("seed=0,1", "hydra.launcher.jobs_per_device=1.5"),
            "hydra.launcher.jobs_per_device: must be a valid integer, got 1.5",
        ),
        (
            ("seed=0,1", "+hydra.launcher.timeout=3"),
            "hydra.launcher.timeout: no such setting (did you mean timeout_s?)",
        ),
        (("seed=0,1", "hydra.sweep.subdir=same"), "hydra.sweep.subdir: must give each job a folder of its own"),
    ],
)
def test_a_wrong_job_is_refused_before_any_starts(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    _, err = swept(tmp_path, *SHORT, *words, code=2)
    assert err.startswith(f"kd-runner: {line}")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not (tmp_path / "sweep" / "0").exists()
    assert not (tmp_path / "sweep" / "sweep.json").exists()  # which would refuse the mended command


def test_what_is_no_run_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "sweep" / "1").mkdir(parents=True)
    (tmp_path / "sweep" / "1" / "cat.png").write_text("mine")
    _, err = swept(tmp_path, *SHORT, "seed=0,1", code=2)
    assert "sweep holds 1" in err
    assert (tmp_path / "sweep" / "1" / "cat.png").exists()


@pytest.mark.slow
def test_another_grid_in_an_old_folder_is_refused(tmp_path: Path) -> None:
    swept(tmp_path, *SHORT, "seed=0,1")
    before = _changed_at(tmp_path / "sweep")
    was = "seed: was 0,1 when the sweep began, got"
    for words, line in (
        (("seed=0,1,2",), "holds another sweep, of 2 jobs"),
        (("seed=0,1,2", "resume=sweep"), f"{was} 0,1,2"),
        (("seed=0", "resume=sweep"), f"{was} 0"),
    ):
        _, err = swept(tmp_path, *SHORT, *words, code=2)
        assert line in err
    assert _changed_at(tmp_path / "sweep") == before


def _changed_at(folder: Path) -> dict[Path, int]:
    """When each file was changed last, but for the lock, which some versions of filelock touch."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_failures_are_named_and_the_others_go_on(naughty_folder: Path) -> None:  # noqa: F811
    told = ("distillation.raising=[1]", "distillation.killed=[2]", "distillation.number=range(4)")
    words = (*NAUGHTY_WORDS, *told, "hydra.launcher.pack=off")
    out, err = swept(naughty_folder, *words, code=1)
    lines = err.splitlines()
    again = f"resume={naughty_folder / 'sweep'} --config-dir conf 'trust=[naughty]'"
    assert lines[0] == f"kd-runner: 2 of 4 jobs have no result; to go on: kd-runner {again}"
    assert lines[1:] == [
        "kd-runner: #1 (distillation.number=1): number 1 does not like this",
        "kd-runner: #2 (distillation.number=2): its process was killed by SIGKILL, 2 times",
    ]
    assert "killed    #2 (distillation.number=2), in attempt 1; it is started again" in out
    (naughty_folder / "calm").touch()
    out, err = swept(naughty_folder, "--config-dir", "conf", "trust=[naughty]", "resume=sweep")
    assert "2 of 4 jobs were completed before" in out
    assert len(re.findall("start     #", out)) == 2
    assert all(result_in(naughty_folder / "sweep" / str(job))["status"] == "completed" for job in range(4))
    again, undisturbed = naughty_folder / "sweep", naughty_folder / "whole"
    swept(naughty_folder, *words, "hydra.sweep.dir=whole", "store=other")
    for job in range(4):
        ours, theirs = (numbers_of(result_in(folder / str(job))) for folder in (again, undisturbed))
        assert ours == theirs


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("sent", "code"),
    [("INT", 130), pytest.param("TERM", 143, marks=pytest.mark.slow), pytest.param("KILL", -9, marks=pytest.mark.slow)],
)
def test_nothing_is_left_when_the_driver_ends(naughty_folder: Path, sent: str, code: int) -> None:  # noqa: F811
    words = (*NAUGHTY_WORDS, "hydra.launcher.pack=off", "distillation.hanging=[0,1]", "distillation.number=0,1,2")
    process = started(naughty_folder, *words)
    assert process.stdout is not None
    deadline = time.monotonic() + 120
    while len(list((naughty_folder / "sweep").glob("[01]/settings.json"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    os.kill(process.pid, getattr(signal, f"SIG{sent}"))
    process.communicate(timeout=20)
    assert process.returncode == code
    deadline = time.monotonic() + 2
    while processes_in(naughty_folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(naughty_folder) == []
    if sent != "KILL":
        assert result_in(naughty_folder / "sweep" / "0")["status"] == "interrupted"
    assert not (naughty_folder / "sweep" / "2").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_hundred_jobs_of_which_ten_fail(naughty_folder: Path) -> None:  # noqa: F811
    raising, killed, hanging = [3, 20, 41, 62, 99], [10, 50, 77], [30, 88]
    told = [f"distillation.{name}={list(jobs)}".replace(" ", "") for name, jobs in
            (("raising", raising), ("killed", killed), ("hanging", hanging))]  # fmt: skip
    words = (
        *NAUGHTY_WORDS, *told, "distillation.number=range(100)", "hydra.launcher.devices=[0,1]",
        "hydra.launcher.timeout_s=20", "hydra.launcher.grace_s=2", "student=tiny_mlp",
        "hydra.launcher.pack=off",
    )  # fmt: skip
    out, err = swept(naughty_folder, *words, code=1)
    failed = sorted([*raising, *killed, *hanging])
    said = " ".join(line.removeprefix("kd-runner: ").partition(":")[0] for line in err.splitlines()[1:])
    assert sorted(map(int, re.findall(r"#(\d+)", said))) == failed
    assert err.startswith("kd-runner: 10 of 100 jobs have no result")
    assert "#10, #50, #77: its process was killed by SIGKILL, 2 times" in err
    assert "#30, #88: it took longer than 20 s" in err
    done = [job for job in range(100) if (naughty_folder / "sweep" / str(job) / "result.json").exists()]
    completed = [job for job in done if result_in(naughty_folder / "sweep" / str(job))["status"] == "completed"]
    assert completed == [job for job in range(100) if job not in failed]
    deadline = time.monotonic() + 2  # one that has ended needs a moment to be gone
    while processes_in(naughty_folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(naughty_folder) == []
    never_two_on_a_slot(out)
    assert len(re.findall(r"start     teacher .+ on", out)) == 1  # of all hundred jobs
    (naughty_folder / "calm").touch()
    out, _ = swept(naughty_folder, "--config-dir", "conf", "trust=[naughty]", "resume=sweep")
    assert sorted(int(number) for number in re.findall(r"start     #(\d+) ", out)) == failed
    assert all(result_in(naughty_folder / "sweep" / str(job))["status"] == "completed" for job in range(100))


def never_two_on_a_slot(out: str) -> None:
    taken: dict[str, str] = {}
    for line in out.splitlines():
        found = re.match(r"(start|done|failed|killed) +(#\d+|\w+ [0-9a-f]{16})", line)
        if found is None:
            continue
        word, task = found.groups()
        if word == "start":
            slot = line.rsplit(" on ", 1)[1]
            assert slot not in taken.values(), line
            taken[task] = slot
        else:
            del taken[task]
    assert taken == {}


def test_a_sweep_whose_options_have_changed_does_not_go_on(settings: Callable[..., Any], tmp_path: Path) -> None:
    """Its table would have a mean over two settings."""
    launcher: Any = None  # a launcher: nothing is started
    folder = tmp_path / "0"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(settings("student.epochs=3").plain()))
    (folder / "result.json").write_text('{"status": "completed"}')
    as_before, changed = (Job(0, [], [], settings(f"student.epochs={epochs}").plain(), folder) for epochs in (3, 4))
    assert run_grid([as_before], tmp_path, launcher, True, []) == [{"status": "completed"}]
    with pytest.raises(SettingsError, match=r"resume: .*0 has other settings: student\.epochs was 3, is 4"):
        run_grid([changed], tmp_path, launcher, True, [])


@pytest.mark.slow
def test_lists_of_modes_are_checked_as_they_are_run(tmp_path: Path) -> None:
    _, err = swept(tmp_path, "distillation=[dkd,at],soft", *SHORT)
    assert err == ""
    settings = [json.loads((tmp_path / "sweep" / str(job) / "settings.json").read_text()) for job in range(2)]
    modes = [[job["distillation"]["_target_"], *job["plus"]] for job in settings]
    assert modes == [["kd_runner.distillation.dkd.DKD", "at"], ["kd_runner.distillation.soft.Soft"]]
