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

from kd_runner.errors import COMPLETED, INTERRUPTED, TERMINATED
from kd_runner.files import atomic
from kd_runner.files.run_folder import CONSOLE, RESULT, holds_a_run
from kd_runner.sweeps.packs.tasks import ENDED

LOOK = 0.2  # seconds between looks at the processes


def run_bundle(words: Sequence[str]) -> int:
    """Run the jobs of a pack's plan, the file `words[0]`, in a process each; returns 0, or 143 if told to end.

    A process that is killed or told to end has not ended: its job goes on in another attempt, or alone.
    """
    import torch

    plan = json.loads(Path(words[0]).read_text())
    record = Path(plan["folder"]) / ENDED
    ended = atomic.read_json(record)
    left = [job for job in plan["jobs"] if job["name"] not in ended]
    threads = max(1, torch.get_num_threads() // max(1, len(plan["jobs"])))
    processes = {job["name"]: _start(job, threads) for job in left}
    started, exit_code = time.monotonic(), COMPLETED
    try:
        while processes:
            time.sleep(LOOK)
            for name, process in list(processes.items()):
                code = process.poll()
                if code is None:
                    continue
                del processes[name]
                if code in (INTERRUPTED, TERMINATED):
                    exit_code = TERMINATED
                elif code >= 0:
                    end = {"code": code, "seconds": round(time.monotonic() - started, 3), "timed_out": False}
                    atomic.write_json(record, {**atomic.read_json(record), name: end})
    finally:
        for process in processes.values():  # this one was told to end
            process.terminate()
    return exit_code


def _start(job: Mapping[str, Any], threads: int) -> subprocess.Popen[bytes]:
    """The process of a job, which ends with this one."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    words = job["again"] if holds_a_run(folder) else job["words"]
    command = [sys.executable, "-m", "kd_runner.sweeps.engines.child", str(os.getpid()), str(threads), job["call"]]
    if atomic.read_json(folder / RESULT).get("status") == "completed":
        command, words = [sys.executable, "-c", ""], []
    with (folder / CONSOLE).open("ab") as console:
        return subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=console, stderr=console)
