"""Whole runs on several devices: who starts, writes and ends, whatever happens to one of the processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import composed
from jobs import Job, finished
from safetensors.torch import load_file

from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.runs.assembly import assemble
from kd_runner.runs.processes.rank_processes import shared_run

WORDS = (
    "hydra.run.dir=run", "store=store", "teacher.epochs=2", "optimizer=sgd", "optimizer.lr=0.01",
    "trainer.accelerator=cpu", "trainer.threads=1",
)  # fmt: skip
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trainer.devices=4"], r"must be 2 and 2, as torchrun or srun started 4 processes, got 4 and 1"),
        ([], r"must be 2 and 2, as torchrun or srun started 4 processes, got 1 and 1"),
    ],
)
def test_devices_that_torchrun_did_not_start(monkeypatch: pytest.MonkeyPatch, words: list[str], line: str) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=line), shared_run(check(composed(*words))):
        pass


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trainer.nodes=2"], r"trainer\.nodes: must be 1 where neither torchrun nor srun starts .*, got 2"),
        (["trainer.devices=2", "trainer.graph=on"], r"trainer\.graph: must be auto or off"),
        (["trainer.devices=2", "teacher_outputs=cache"], r"teacher_outputs: must be online where 2 devices share"),
        (
            ["trainer.devices=3", "batch_size=2"],
            r"trainer.devices: must be at most batch_size \(2\), one image for each device, got 3",
        ),
        (
            ["trainer.devices=200", "batch_size=256"],
            "trainer.devices: must leave each device a validation image, of which there are 126, got 200 devices",
        ),
    ],
)
def test_what_several_devices_cannot_do(words: list[str], line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        assemble(check(composed("trainer.accelerator=cpu", *words)))


def test_one_device_starts_nothing() -> None:
    with shared_run(check(composed())) as meeting:
        meeting.start()
        meeting.begin("1234")
        assert not meeting.processes
        assert not meeting.process_group.are_several
        assert not torch.distributed.is_initialized()


def others_of(job: Job) -> list[int]:
    """The process IDs of the other processes of a run that is a job."""
    children = Path(f"/proc/{job.process.pid}/task/{job.process.pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"kd_runner.runs.processes.worker_process" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def have_ended(processes: list[int]) -> bool:
    """True where none of the processes is there two seconds later; each has left its parent or is no more."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and any(Path(f"/proc/{process}/exe").exists() for process in processes):
        time.sleep(0.05)
    return not any(Path(f"/proc/{process}/exe").exists() for process in processes)


def result_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text())
    return content


def largest_difference(one: Path, other: Path, name: str) -> float:
    weights, others = load_file(one / "run" / name), load_file(other / "run" / name)
    return max(float((weights[key].double() - others[key].double()).abs().max()) for key in weights)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_killed_process_ends_the_run_which_goes_on_with_other_devices(tmp_path: Path) -> None:
    """Process 1 of 3 is killed, then process 0 of 2; the last process goes on alone, to the weights of one device."""
    words = (*WORDS, "student.epochs=12")
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    finished(alone, *words)

    def at_epoch(number: int) -> bool:
        path = shared / "run" / "now.json"
        try:
            now = json.loads(path.read_text())
        except (OSError, ValueError):
            return False
        return bool(now["stage"] == "student" and now["epoch"] >= number)

    job = Job(shared, *words, "trainer.devices=3", out="first")
    job.until(lambda: at_epoch(2))
    others = others_of(job)
    assert len(others) == 2
    os.kill(others[0], signal.SIGKILL)
    assert job.wait(60) == 1
    assert have_ended(others)
    assert job.text("err") == "kd-runner: process 1 of 3 has ended by SIGKILL, and with it the run\n"
    assert result_in(shared)["status"] == "failed"
    assert result_in(shared)["stage"] == "student"

    job = Job(shared, *words, "resume=run", "trainer.devices=2", out="second")
    job.until(lambda: at_epoch(6))
    others = others_of(job)
    assert job.process.pid is not None
    os.kill(job.process.pid, signal.SIGKILL)
    job.wait(60)
    assert len(others) == 1
    assert have_ended(others)

    finished(shared, *words, "resume=run")
    assert result_in(shared)["status"] == "completed"
    for name in ("teacher.safetensors", "baseline.safetensors", "student_last.safetensors"):
        assert largest_difference(alone, shared, name) < 1e-4
    epochs = [json.loads((folder / "run" / "analysis.json").read_text())["epochs"] for folder in (alone, shared)]
    assert [len(stages["student"]) for stages in epochs] == [12, 12]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    """The loss is infinite in both processes; a file that only process 1 does not find is its failure alone."""
    job = Job(tmp_path, *WORDS, "student.epochs=2", "optimizer.lr=1e30", "trainer.devices=2")
    assert job.wait(120) == 1
    assert job.text("err").count("\n") == 1
    assert "teacher: the loss is not finite in epoch 1, step " in job.text("err")

    job = Job(
        tmp_path, *WORDS, "hydra.run.dir=other", "trainer.devices=2", patch="test_rank_processes:_break_process_1"
    )
    assert job.wait(120) == 1
    assert job.text("err") == "kd-runner: process 1 of 2: dataset: there is nothing\n"
    assert (
        json.loads((tmp_path / "other" / "result.json").read_text())["error"]
        == "process 1 of 2: dataset: there is nothing"
    )


def _break_process_1() -> None:
    """Have the other processes find no data."""
    from kd_runner.runs.processes import rank_processes

    broken = (
        "from kd_runner.runs.processes import worker_process; from kd_runner.errors import SettingsError\n"
        "def assemble(*arguments, **options): raise SettingsError('dataset: there is nothing')\n"
        "worker_process.assemble = assemble; worker_process.end_process(worker_process.main())"
    )
    start = subprocess.Popen

    def started(words: list[str], **options: Any) -> Any:
        return start([words[0], "-c", broken, *words[words.index("-m") + 2 :]], **options)

    rank_processes.subprocess.Popen = started  # type: ignore[misc, assignment]


@pytest.mark.slow
def test_a_run_under_torchrun(tmp_path: Path) -> None:
    """As two processes that kd-runner starts itself; process 1 leaves no folder of Hydra's."""
    words = [*WORDS, "student.epochs=2", "trainer.devices=2"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "kd_runner"]
    for folder, start in ((tmp_path / "torchrun", command), (tmp_path / "own", [sys.executable, "-m", "kd_runner"])):
        folder.mkdir()
        done = subprocess.run([*start, *words], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in folder.iterdir()) == ["run", "store"]
        assert done.stdout.count("student   epoch 2/2") == 1
        assert "devices   2 processes share each batch of 64" in done.stdout
        assert json.loads((folder / "run" / "result.json").read_text())["environment"]["processes"] == 2
    for name in ("teacher.safetensors", "baseline.safetensors", "student_last.safetensors"):
        assert largest_difference(tmp_path / "torchrun", tmp_path / "own", name) == 0

    done = subprocess.run(
        [*command, *words, "-m", "seed=0,1"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert "kd-runner: -m: a sweep must be one process, and torchrun or srun started 2" in done.stderr
