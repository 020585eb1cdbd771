"""Kills, signals and a full disk at every stage: what was there is good, and `resume=` comes to the same bits."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted_runs import EVERY_STAGE, same_to_the_bit
from jobs import Job, finished, result_in
from safetensors.torch import load_file

# The file that a stage writes, and how often it was written before this stage.
WRITES = {
    "teacher": ("state.pt", 1),
    "baseline": ("state.pt", 5),
    "student": ("state.pt", 9),
    "finetune": ("state.pt", 13),
    "evaluate": ("analysis.json", 0),
    "report": ("report.html", 0),
}
SIGNALS = {"KILL": (-9, ""), "TERM": (143, "terminated"), "INT": (130, "interrupted")}


def _at_write(name: str, number: int, act: Callable[[Any, tuple[Any, ...]], None]) -> None:
    """Have `act` called in place of the write after `number` writes of a file of this name."""
    from kd_runner.files import atomic

    real, seen = atomic.write, 0

    def write(path: Path, content: bytes, survives_power_cut: bool = True) -> None:
        nonlocal seen
        if path.name == name and seen >= number:
            act(real, (path, content))
        else:
            seen += path.name == name
            real(path, content, survives_power_cut)

    atomic.write = write


def _waits(real: Any, arguments: tuple[Any, ...]) -> None:
    """Say that the file is about to be written, and wait for a signal."""
    Path("at-the-write").touch()
    time.sleep(600)


def _finds_a_full_disk(real: Any, arguments: tuple[Any, ...]) -> None:
    """Write the file on a disk that is full before its last byte."""
    flush = os.fsync

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = full
    try:
        real(*arguments)
    finally:
        os.fsync = flush


def _patches() -> dict[str, Callable[[], None]]:
    """The functions that `Job` calls by their names in its process."""
    return {
        f"{act.__name__.strip('_')}_{stage}": (lambda stage=stage, act=act: _at_write(*WRITES[stage], act))  # type: ignore[misc]
        for stage in WRITES
        for act in (_waits, _finds_a_full_disk)
    }


globals().update(_patches())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finished(folder, *EVERY_STAGE, "hydra.run.dir=run")
    return folder / "run"


def assert_what_is_there_is_good(folder: Path) -> None:
    """Every file that is there under its own name is whole."""
    for path in folder.rglob("*"):
        if path.name.endswith(".unfinished") or not path.is_file():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")


def assert_it_goes_on(folder: Path, undisturbed: Path) -> None:
    job = finished(folder, "resume=run")
    assert job.text("err") == ""
    assert same_to_the_bit(folder / "run", undisturbed)
    assert not list(folder.rglob("*.unfinished"))
    assert not (folder / "run" / "unfinished").exists()
    epochs = re.findall(r"(\w+ +epoch +\d+)/\d+", (folder / "run" / "kd-runner.log").read_text())
    assert max(epochs.count(epoch) for epoch in epochs) <= 2  # the one whose state could not be written


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are those of Unix")
@pytest.mark.parametrize(
    ("stage", "sent"),  # test_killed_jobs.py sends the other signals to the stages before the report
    [*((stage, "KILL") for stage in WRITES), ("report", "TERM"), ("report", "INT")],
)
def test_a_signal_in_the_middle_of_a_stage(tmp_path: Path, undisturbed: Path, stage: str, sent: str) -> None:
    job = Job(tmp_path, *EVERY_STAGE, "hydra.run.dir=run", patch=f"test_every_stage:waits_{stage}")
    job.until((tmp_path / "at-the-write").exists)
    assert job.process.pid is not None
    os.kill(job.process.pid, getattr(signal, f"SIG{sent}"))
    code, word = SIGNALS[sent]
    assert job.wait() == code
    if word:
        assert job.text("err") == f"kd-runner: {word}; to go on: kd-runner resume={tmp_path / 'run'}\n"
    assert_what_is_there_is_good(tmp_path)
    if stage == "report":
        assert result_in(tmp_path / "run")["status"] == "completed"
    assert_it_goes_on(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", WRITES)
def test_a_full_disk_at_a_stage(tmp_path: Path, undisturbed: Path, stage: str) -> None:
    job = Job(tmp_path, *EVERY_STAGE, "hydra.run.dir=run", patch=f"test_every_stage:finds_a_full_disk_{stage}")
    code, line = job.wait(), job.text("err")
    assert_what_is_there_is_good(tmp_path)
    assert not list(tmp_path.rglob("*.unfinished"))
    size = r"[\d.,]+ (?:bytes|[kMG]B)"
    said = rf"the disk is full: {re.escape(WRITES[stage][0])} needs {size}, {size} are free in \S+"
    if stage == "report":  # the result stands
        assert (code, line) == (0, "")
        assert re.search(f"the report could not be written: {said}", job.text("out"))
    else:
        assert code == 1
        assert re.fullmatch(f"kd-runner: {said}\n", line), line
        assert result_in(tmp_path / "run")["status"] == "failed"
    assert_it_goes_on(tmp_path, undisturbed)
