"""Sweeps as commands, and a mode that misbehaves in their jobs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from jobs import Job

SHORT = (
    "teacher.epochs=1", "student.epochs=1", "baseline=false", "hydra.sweep.dir=sweep", "store=store",
    "tracking.images=false",
)  # fmt: skip
NAUGHTY = '''
import os, pathlib, signal, time
import torch.nn.functional as F

class Naughty:
    """Behaves in the rehearsal, and as it is told while training; well where there is a file called calm."""

    def __init__(self, number: int, raising: list[int], killed: list[int], hanging: list[int]) -> None:
        self.number, self.raising, self.killed, self.hanging = number, raising, killed, hanging

    def __call__(self, student, teacher, labels, temperature):
        if 0 < student.progress < 1 and not pathlib.Path("calm").exists():
            if self.number in self.raising:
                raise RuntimeError(f"number {self.number} does not like this")
            if self.number in self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            while self.number in self.hanging:
                time.sleep(1)
        return F.mse_loss(student.logits, teacher.logits)
'''
OPTION = """
_target_: naughty.Naughty
weight: 1.0
label_weight: 1.0
number: 0
raising: []
killed: []
hanging: []
"""
NAUGHTY_WORDS = ("--config-dir", "conf", "distillation=naughty", "trust=[naughty]", *SHORT)


@pytest.fixture
def naughty_folder(tmp_path: Path) -> Path:
    """A folder with a mode that misbehaves."""
    (tmp_path / "naughty.py").write_text(NAUGHTY)
    (tmp_path / "conf" / "distillation").mkdir(parents=True)
    (tmp_path / "conf" / "distillation" / "naughty.yaml").write_text(OPTION)
    return tmp_path


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kd_runner", "-m", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def swept(folder: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """What a sweep that has ended printed."""
    with tempfile.TemporaryDirectory() as beside:
        job = Job(folder, "-m", *words, out=f"{beside}/printed")
        ended = job.wait()
        out, err = job.text("out"), job.text("err")
    assert ended == code, err + out
    assert "Traceback" not in err
    return out, err


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that stand in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
