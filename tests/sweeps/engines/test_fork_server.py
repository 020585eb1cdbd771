"""The fork server with a driver of its own, which ends as kd-runner does: job by job, in one line, with no orphan."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_commands import processes_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Linux alone kills a process with its parent"),
]

JOBS = """
import os, signal, sys, time
def report(words):
    leads = os.getpid() == os.getsid(0) == os.getpgid(0)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    print(words, os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OF_THE_DRIVER"], leads, blocked, sys.stdin.read())
    return 7
def vanish(words): os._exit(255)
def killed(words): os.kill(os.getpid(), 9)
def forever(words): time.sleep(600)
"""
DRIVER = """
import os, signal, sys
from pathlib import Path
from kd_runner.errors import RunFailed
from kd_runner.sweeps.engines.fork_server import ForkServer

def code_of(job, *words):
    process = server.start(f"jobs_of_a_driver:{job}", words, Path(job), {"CUDA_VISIBLE_DEVICES": "3"}, 1)
    while not server.wait(0.1):
        pass
    return process.exitcode

if __name__ == "__main__":
    server = ForkServer()
    print(code_of("report", "a", "b"), code_of("vanish"), code_of("killed"), flush=True)
    server.start("jobs_of_a_driver:forever", [], Path("forever"), {}, 1)
    os.kill(server.facts.pid, signal.SIGTERM)  # of a terminal or a scheduler, for all: the driver alone heeds it
    assert not server.wait(0.2)
    if sys.argv[1] == "server":
        os.kill(server.facts.pid, signal.SIGKILL)
        try:
            server.wait(60)
        except RunFailed as error:
            print(error)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("victim", ["server", "driver"])
def test_jobs_end_with_their_codes_and_with_the_server(tmp_path: Path, victim: str) -> None:
    (tmp_path / "jobs_of_a_driver.py").write_text(JOBS)
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "OF_THE_DRIVER": "yes", "PYTHONPATH": f"{Path(__file__).parents[3]}:{tmp_path}"}
    process = subprocess.run(  # returns when no process holds its output any more
        [sys.executable, "driver.py", victim],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = process.stdout.splitlines()
    assert lines[0] == "7 255 -9", process.stderr
    assert (tmp_path / "report" / "console.log").read_text() == "['a', 'b'] 3 yes True set() \n"
    deadline = time.monotonic() + 5
    while processes_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes_in(tmp_path) == []
    if victim == "server":
        assert lines[1:] == ["the process that starts the jobs has died; see what it printed above"]
    else:
        assert process.returncode == -9
