"""Jobs that share a GPU and nothing else: each is a process of its own, and they run at a time in one job of a cluster.

They are written down and ended as the jobs of a pack are (`kd_runner.sweeps.packs.process`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.child_python import python_command
from kd_runner.errors import COMPLETED, INTERRUPTED, TERMINATED
from kd_runner.files import atomic
from kd_runner.files.run_folder import CONSOLE, RESULT, holds_a_run
from kd_runner.sweeps.packs.tasks import ENDED, LEFT_OUT

LOOK = 0.2  # seconds between looks at the processes


def run_bundle(words: Sequence[str]) -> int:
    """Run the jobs of a pack's plan, the file `words[0]`, in a process each; returns 0, or 143 if told to end.

    A process that is killed or told to end has not ended: its job goes on in another attempt, or alone. Jobs that the
    pack's folder names as left out are ended, or not started.
    """
    import torch

    plan = json.loads(Path(words[0]).read_text())
    record, left_out = Path(plan["folder"]) / ENDED, Path(plan["folder"]) / LEFT_OUT
    jobs = {job["name"]: job for job in plan["jobs"] if job["name"] not in atomic.read_json(record)}
    threads = max(1, torch.get_num_threads() // max(1, len(plan["jobs"])))
    unwanted = _names(left_out)
    for name in unwanted & set(jobs):
        _write_end(record, name, TERMINATED, 0.0, True)
    started, is_told = time.monotonic(), False
    processes = {name: _start(job, threads) for name, job in jobs.items() if name not in unwanted}
    try:
        while processes:
            time.sleep(LOOK)
            new = _names(left_out) - unwanted
            unwanted |= new
            for name in new & set(processes):
                processes[name].terminate()
            for name, process in list(processes.items()):
                code = process.poll()
                if code is None:
                    continue
                del processes[name]
                is_stopped = code < 0 or code in (INTERRUPTED, TERMINATED)
                if not is_stopped or name in unwanted:
                    _write_end(record, name, code, time.monotonic() - started, is_stopped)
                is_told |= is_stopped and code >= 0 and name not in unwanted
    finally:
        for process in processes.values():  # this one was told to end
            process.terminate()
    return TERMINATED if is_told else COMPLETED


def _names(left_out: Path) -> set[str]:
    """The names of the jobs that are to end, or not to start."""
    names = atomic.read_json(left_out).get("jobs")
    return set(names) if isinstance(names, list) else set()


def _write_end(record: Path, name: str, code: int, seconds: float, is_left_out: bool) -> None:
    end = {
        "code": code,
        "seconds": round(seconds, 3),
        "timed_out": False,
        **({"left_out": True} if is_left_out else {}),
    }
    atomic.write_json(record, {**atomic.read_json(record), name: end})


def _start(job: Mapping[str, Any], threads: int) -> subprocess.Popen[bytes]:
    """The process of a job, which ends with this one."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    words = job["again"] if holds_a_run(folder) else job["words"]
    command = python_command("kd_runner.sweeps.engines.child", str(os.getpid()), str(threads), job["call"])
    if atomic.read_json(folder / RESULT).get("status") == "completed":
        command, words = [sys.executable, "-I", "-c", ""], []
    with (folder / CONSOLE).open("ab") as console:
        return subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=console, stderr=console)
