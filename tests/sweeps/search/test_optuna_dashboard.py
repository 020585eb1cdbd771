"""optuna-dashboard on the journal of a search, as docs/trackers.md says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from jobs import Job

pytestmark = pytest.mark.slow

WORDS = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.trials=2", "temperature.value=interval(1,8)", "student=mlp",
         "teacher=mlp", "teacher.hidden=[16]", "teacher.epochs=1", "student.epochs=2", "baseline=false",
         "tracking.images=false", "hydra.sweep.dir=search")  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(address: str, process: subprocess.Popen[bytes]) -> Any:
    """The answer of a server that is about to start."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address) as answer:
                return json.load(answer)
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_its_trials_are_those_of_the_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="no optuna-dashboard: pip install optuna-dashboard")
    job, port = Job(tmp_path, *WORDS), free_port()
    assert job.wait(300) == 0, job.text("err")
    journal = str(tmp_path / "search" / "study.journal")
    words = [sys.executable, "-m", "optuna_dashboard._cli", journal, "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out)
    try:
        study = ask(f"http://127.0.0.1:{port}/api/studies/0?after=0", process)
    finally:
        process.terminate()
        process.wait()
    assert [trial["state"] for trial in study["trials"]] == ["Complete"] * 2
    for number, trial in enumerate(study["trials"]):
        result = json.loads((tmp_path / "search" / str(number) / "result.json").read_text())
        assert trial["values"] == [result["student"]["best_val"]["val_accuracy"]]
        (parameter,) = trial["params"]
        (temperature,) = [word.partition("=")[2] for word in result["overrides"] if word.startswith("temperature.")]
        assert float(parameter["param_external_value"]) == pytest.approx(float(temperature), rel=1e-4)
