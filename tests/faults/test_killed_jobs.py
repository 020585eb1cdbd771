"""Nothing is lost: killed, terminated and contending jobs, full disks, broken entries. The processes are real."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from interrupted_runs import EVERY_STAGE, same_to_the_bit
from jobs import Job, finished, result_in

from kd_runner.store import entries

EPOCHS = 4 + 4 + 4 + 3


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finished(folder, *EVERY_STAGE, "hydra.run.dir=run")
    return folder / "run"


def epochs_in(log: Path) -> int:
    return len(re.findall(r"epoch +\d+/", log.read_text())) if log.exists() else 0


def killed_and_resumed(folder: Path, epochs: int, seconds: float) -> str:
    """Kill the run so many seconds after its log tells of so many epochs; go on with it; returns what its log says."""
    job, run = Job(folder, *EVERY_STAGE, "hydra.run.dir=run"), folder / "run"
    if epochs:
        job.until(lambda: epochs_in(run / "kd-runner.log") >= epochs)
    time.sleep(seconds)
    job.process.kill()
    job.process.join()
    if (run / ".hydra" / "overrides.yaml").exists():
        finished(folder, "resume=run")
    elif run.is_dir() and any(run.iterdir()):  # killed by the hundredth of a second in which Hydra writes its files
        finished(folder, *EVERY_STAGE, "resume=run")
    else:
        finished(folder, *EVERY_STAGE, "hydra.run.dir=run")
    return (run / "kd-runner.log").read_text()


def assert_nothing_lost(folder: Path, log: str, undisturbed: Path) -> None:
    epochs = Counter(re.findall(r"(\w+) +epoch +(\d+)/\d+", log))
    assert set(epochs.values()) <= {1}, f"trained twice: {[epoch for epoch, times in epochs.items() if times > 1]}"
    assert same_to_the_bit(folder / "run", undisturbed)
    assert not list(folder.rglob("*.unfinished"))
    assert not (folder / "run" / "unfinished").exists()
    assert sorted(path.name for path in (folder / "store").iterdir() if path.name.startswith(".")) == []


# In the teacher, the baseline and the student.
@pytest.mark.parametrize(
    "epochs", [pytest.param(2, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow), 10]
)
def test_a_killed_run_goes_on(tmp_path: Path, undisturbed: Path, epochs: int) -> None:
    log = killed_and_resumed(tmp_path, epochs, 0.05)
    assert_nothing_lost(tmp_path, log, undisturbed)


@pytest.mark.slow
def test_kills_at_random_instants_lose_nothing(tmp_path: Path, undisturbed: Path) -> None:
    draw = random.Random(0)
    resumed = Counter[str]()
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        log = killed_and_resumed(folder, draw.randrange(EPOCHS + 1), draw.uniform(0, 0.3))
        assert_nothing_lost(folder, log, undisturbed)
        resumed.update(re.findall(r"(\w+) +goes on after epoch", log))
    assert len(resumed) >= 3, resumed  # the instants met several stages


@pytest.mark.slow
def test_a_run_that_is_killed_twice_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    run, words = tmp_path / "run", EVERY_STAGE
    for stage in ("teacher", "student"):
        job = Job(tmp_path, *words, "hydra.run.dir=run")
        log = run / "kd-runner.log"
        job.until(lambda log=log, stage=stage: log.exists() and f"{stage}   epoch 2/" in log.read_text())
        job.process.kill()
        job.process.join()
        words = ("resume=run",)
    finished(tmp_path, "resume=run")
    assert_nothing_lost(tmp_path, log.read_text(), undisturbed)


def endless_evaluation() -> None:
    from kd_runner.runs.results import stage_results

    def evaluate(*_: object) -> None:
        stage_results.log.info("evaluate  begins")
        time.sleep(600)

    stage_results.evaluate = evaluate


def endless_loading() -> None:
    from kd_runner.runs import run

    def assemble(*_: object, **named: object) -> None:
        run.log.info("loading   begins")
        time.sleep(600)

    run.assemble = assemble


SIGNALS = {"INT": (130, "interrupted"), "TERM": (143, "terminated")}
STAGES = ("loading", "teacher", "baseline", "student", "finetune", "evaluate")
IN_BRIEF = (("loading", "TERM"),)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "sent"),
    [
        pytest.param(stage, sent, marks=[] if (stage, sent) in IN_BRIEF else pytest.mark.slow)
        for stage in STAGES
        for sent in SIGNALS
    ],
)
def test_signals_in_every_stage(tmp_path: Path, undisturbed: Path, stage: str, sent: str) -> None:
    status, word = SIGNALS[sent]
    patches = {"evaluate": "test_killed_jobs:endless_evaluation", "loading": "test_killed_jobs:endless_loading"}
    job = Job(tmp_path, *EVERY_STAGE, "hydra.run.dir=run", patch=patches.get(stage, ""))
    sign = f"{stage:<9} {'begins' if stage in patches else 'epoch 1/'}"
    job.until(lambda: sign in job.text("out"))
    assert job.process.pid is not None
    os.kill(job.process.pid, getattr(signal, f"SIG{sent}"))
    assert job.wait() == status
    assert job.text("err") == f"kd-runner: {word}; to go on: kd-runner resume={tmp_path / 'run'}\n"
    result = result_in(tmp_path / "run")
    assert result["status"] == "interrupted"
    if stage != "loading":
        assert result["stage"] == ("student" if stage == "finetune" else stage)
        assert result["teacher"] is None
        assert result["error"] is None
    finished(tmp_path, "resume=run")
    assert_nothing_lost(tmp_path, (tmp_path / "run" / "kd-runner.log").read_text(), undisturbed)


def test_a_completed_run_stands(tmp_path: Path, undisturbed: Path) -> None:
    shutil.copytree(undisturbed.parent, tmp_path / "copy")
    before = (tmp_path / "copy" / "run" / "result.json").stat().st_mtime_ns
    job = finished(tmp_path / "copy", "resume=run")
    assert "completed before, with these settings" in job.text("out")
    assert "epoch" not in job.text("out")
    assert (tmp_path / "copy" / "run" / "result.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr=0.3"], "resume: {run} has other settings: optimizer.lr was 0.05, is 0.3"),
        (["optimizer=adam"], "optimizer: was sgd when the run began, got adam; a run goes on with its own "),
        (["student.epochs=100"], "student.epochs: was 4 when the run began, got 100; a run goes on with its "),
        (["data_seed=1", "seed=1"], "resume: {run} has other settings: seed was 0, is 1; data_seed was 0, is 1"),
        (["-m"], "resume: run is the folder of a run: leave -m out"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, undisturbed: Path, words: list[str], message: str) -> None:
    shutil.copytree(undisturbed.parent, tmp_path / "copy")
    run = tmp_path / "copy" / "run"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "kd-runner.log"}
    job = Job(tmp_path / "copy", *EVERY_STAGE, *words, "resume=run")
    assert job.wait() == 2
    assert job.text("err").startswith(f"kd-runner: {message.format(run=run)}")
    assert job.text("err").count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "kd-runner.log"} == before


@pytest.mark.parametrize("word", ["resume=nowhere", "resume=empty"])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, word: str) -> None:
    (tmp_path / "empty").mkdir()
    job = Job(tmp_path, word)
    assert job.wait() == 2
    assert job.text("err").startswith("kd-runner: resume: must be the folder of a run or a sweep")


@pytest.mark.slow
def test_a_sweep_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    words = (
        "-m",
        *EVERY_STAGE,
        "temperature=constant",
        "temperature.value=1,2,3",
        "finetune.epochs=0",
        "hydra.launcher.jobs_per_device=1",
        "hydra.launcher.pack=off",
    )
    finished(tmp_path, *words, "hydra.sweep.dir=whole", "store=whole_store")
    job = Job(tmp_path, *words, "hydra.sweep.dir=sweep")
    log = tmp_path / "sweep" / "1" / "kd-runner.log"
    job.until(lambda: log.exists() and "student   epoch 2/" in log.read_text())
    job.process.kill()
    job.process.join()
    assert not (tmp_path / "sweep" / "2").exists()
    again = finished(tmp_path, "resume=sweep")
    assert "1 of 3 jobs were completed before" in again.text("out")
    assert re.findall(r"student +goes on after epoch (\d) of 4", log.read_text()) in (["2"], ["3"], ["4"])
    assert all(same_to_the_bit(tmp_path / "sweep" / job, tmp_path / "whole" / job) for job in ("0", "1", "2"))
    once_more = finished(tmp_path, "resume=sweep")
    assert "3 of 3 jobs were completed before" in once_more.text("out")


# Contention: jobs that want one teacher.


def other_host() -> None:
    """Makes the process believe that it is alone on its machine, and leases short."""
    import socket

    name = f"host{os.getpid()}"
    socket.gethostname = lambda: name
    entries.LEASE, entries.POLL = 2.0, 0.1


def epochs_trained(folder: Path) -> Counter[str]:
    """How often each of the teacher's epochs was trained, by all jobs together."""
    texts = (path.read_text() for path in folder.glob("*.out"))
    return Counter(epoch for text in texts for epoch in re.findall(r"teacher +epoch +(\d+)/", text))


def trainer(folder: Path, jobs: list[Job]) -> Job | None:
    """Which of the jobs trains the teacher."""
    with contextlib.suppress(OSError, ValueError):  # between two of them
        (holder,) = (folder / "store").glob(".*.work/holder.json")
        process = json.loads(holder.read_text())["process"]
        return next((job for job in jobs if process.endswith(f":{job.process.pid}")), None)
    return None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("jobs", "victims", "patch"),
    [
        (2, 1, ""),
        pytest.param(10, 2, "", marks=pytest.mark.slow),
        pytest.param(10, 2, "test_killed_jobs:other_host", marks=pytest.mark.slow),
    ],
)
def test_one_teacher_is_trained_once(tmp_path: Path, jobs: int, victims: int, patch: str) -> None:
    words = ("teacher.epochs=10", "batch_size=16", "student.epochs=1", "baseline=false", "store=store")
    survivors = [
        Job(tmp_path, *words, f"temperature.value={n + 1}", f"hydra.run.dir=run{n}", out=f"job{n}", patch=patch)
        for n in range(jobs)
    ]
    for number in range(victims):
        deadline = time.monotonic() + 120
        while sum(epochs_trained(tmp_path).values()) < 3 * (number + 1) or trainer(tmp_path, survivors) is None:
            assert time.monotonic() < deadline
        victim = trainer(tmp_path, survivors)
        assert victim is not None
        victim.process.kill()
        victim.process.join()
        survivors.remove(victim)
    for job in survivors:
        assert job.wait(300) == 0, job.text("err")
    trained = [job for job in survivors if "reused from" not in job.text("out")]
    assert len(trained) == 1
    assert max(epochs_trained(tmp_path).values()) == 1
    assert any("waiting for" in job.text("out") and "is training" in job.text("out") for job in survivors)
    assert len({result_in(job.folder / f"run{job.out[3:]}")["teacher"]["nll"] for job in survivors}) == 1
    assert [path.name for path in (tmp_path / "store").iterdir() if path.name.startswith(".")] == []


# Disks that are full.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("what", [pytest.param("run", marks=pytest.mark.slow), "store"])
def test_a_full_disk_is_said_and_costs_nothing(small_disk: Path, tmp_path: Path, undisturbed: Path, what: str) -> None:
    (small_disk / "ballast").write_bytes(bytes(300_000 if what == "run" else 330_000))
    places = {"run": f"hydra.run.dir={small_disk if what == 'run' else tmp_path}/run"}
    others = [word for word in EVERY_STAGE if not word.startswith("store=")]
    words = (*others, places["run"], f"store={small_disk if what == 'store' else tmp_path}/store")
    job = Job(tmp_path, *words)
    assert job.wait() == 1
    assert re.fullmatch(
        r"kd-runner: the disk is full: \S+ needs [\d.,]+ (?:bytes|[kM]B), [\d.,]+ (?:bytes|[kMG]B) are free in \S+\n",
        job.text("err"),
    ), job.text("err")
    run = (small_disk if what == "run" else tmp_path) / "run"
    assert not list(small_disk.rglob("*.unfinished"))
    for state in small_disk.rglob("state.pt"):
        torch.load(state, weights_only=True)
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    again = finished(tmp_path, *words, f"resume={run}")
    assert "epoch" in again.text("out")
    assert same_to_the_bit(run, undisturbed)
