"""What a job of a Ray cluster has, and how it runs on a worker; no cluster is needed."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kd_runner.config.validation import validate_section
from kd_runner.errors import SettingsError
from kd_runner.sweeps.engines.ray_cluster import Killed, RayEngine, RaySettings, run_job

LIMITS = {"threads": 1, "timeout_s": None, "grace_s": 0.2}


def engine(**changed: Any) -> RayEngine:
    settings: dict[str, Any] = dict.fromkeys(("address", "gpus_per_job", "num_gpus", "num_cpus", "timeout_s"))
    settings |= {"cpus_per_job": 2, "grace_s": 30, "retries": 1, **changed}
    return RayEngine(validate_section(RaySettings, settings, "hydra.launcher."))


def nodes(*resources: dict[str, float], alive: bool = True) -> list[dict[str, Any]]:
    return [{"Alive": alive, "Resources": machine} for machine in resources]


def test_a_job_has_what_one_machine_has() -> None:
    machines = nodes({"CPU": 8, "GPU": 4}, {"CPU": 64})
    assert engine()._gpus_per_job(machines) == 1.0
    assert engine()._gpus_per_job(nodes({"CPU": 8}, {"CPU": 64})) == 0.0
    assert engine(gpus_per_job=0.5)._gpus_per_job(machines) == 0.5
    with pytest.raises(SettingsError, match="must be what one machine of the cluster has, got 1 and 32"):
        engine(cpus_per_job=32, gpus_per_job=1)._gpus_per_job(machines)
    dead = nodes({"CPU": 8, "GPU": 8}, alive=False)
    with pytest.raises(SettingsError, match="got 8 and 2"):
        engine(gpus_per_job=8)._gpus_per_job([*machines, *dead])


def test_it_says_where_jobs_run() -> None:
    assert engine().description == "on a Ray cluster of this machine"
    assert engine(address="head:6379").description == "on the Ray cluster at head:6379"


@pytest.fixture
def run_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a line of Python as a job in place of a command."""
    interpreter, python = os.path.realpath(sys.executable), tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(python))

    def run(line: str, **limits: Any) -> tuple[int, bool]:
        python.write_text(f"#!/bin/sh\nexec {interpreter} -S -c '{line}' \"$@\"\n")
        python.chmod(0o755)
        job = {"folder": str(tmp_path / "0"), "driver_folder": str(tmp_path), "call": "a:b"}
        return run_job(["x=1"], ["again"], {**job, "variables": {"SEEN": "yes"}}, {**LIMITS, **limits})

    return run


def test_a_job_runs_in_the_drivers_folder(tmp_path: Path, run_script: Any) -> None:
    line = 'import os,sys; print(os.getcwd(), os.environ["SEEN"], *sys.argv[-3:]); sys.exit(3)'
    assert run_script(line) == (3, False)
    assert (tmp_path / "0" / "console.log").read_text() == f"{tmp_path} yes 1 a:b x=1\n"


def test_a_job_that_takes_too_long_is_stopped(run_script: Any) -> None:
    code, timed_out = run_script("import time; time.sleep(60)", timeout_s=0.05)
    assert (code, timed_out) == (-15, True)


def test_a_killed_job_is_for_ray_to_start_again(run_script: Any) -> None:
    with pytest.raises(Killed) as killed:
        run_script("import os; os.kill(os.getpid(), 9)")
    assert killed.value.code == -9


def test_ray_can_end_a_job(tmp_path: Path, run_script: Any) -> None:
    """Ray asks Python for an interrupt, and sends no signal, also where a script had started the cluster with `&`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_script('print("ran", flush=True); import time; time.sleep(20)')
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 10
    assert (tmp_path / "0" / "console.log").read_text() == "ran\n"


def test_the_drivers_folder_must_be_there(tmp_path: Path) -> None:
    job = {"folder": str(tmp_path / "0"), "driver_folder": str(tmp_path / "nowhere")}
    with pytest.raises(FileNotFoundError, match=r"nowhere is not there on .*: the nodes must share it"):
        run_job([], [], job, LIMITS)
