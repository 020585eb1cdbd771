"""A process that has imported what takes long, and forks a fresh process for every job that it is told to start.

It reads a JSON object a line from its standard input and answers on its standard output:

    {"start": ID, "call": "module:function", "words": […], "folder": "…", "environment": {…}, "threads": N}
        → {"started": ID, "pid": N}, and when it ends {"ended": ID, "code": N}
    {"count_devices": true} → {"devices": N}

A code below 0 is the signal that ended the job. Every job leads a process group of its own. When the standard input
ends, because whoever started this process is gone, its jobs are killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_runner.errors import RunFailed
from kd_runner.files.run_folder import CONSOLE
from kd_runner.sweeps.engines.child import call_function, die_with_parent, print_to
from kd_runner.threads import settle_threads

HEAVY = ("torch", "torchvision", "pytorch_lightning", "tensorboard", "kd_runner.runs.run", "kd_runner.datasets.digits")


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    settle_threads()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: whoever started this process passes it on
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Python 3.12 warns of every thread there is. These are numpy's and scipy's, which OpenBLAS ends before a fork.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
    for name in HEAVY:
        importlib.import_module(name)
    jobs: dict[int, int] = {}  # IDs by process
    asked = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.05)
        if readable:
            block = os.read(0, 2**16)
            if not block:
                break
            *lines, asked = (asked + block).split(b"\n")
            for line in lines:
                _obey(json.loads(line), jobs)
        for process, code in _ended_jobs(jobs):
            _answer({"ended": jobs.pop(process), "code": code})
    for process in jobs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


def _obey(asked: dict[str, Any], jobs: dict[int, int]) -> None:
    if "count_devices" in asked:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            import torch

            os.write(writer, str(torch.cuda.device_count()).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        _answer({"devices": int(os.read(reader, 20) or b"0")})
        os.close(reader)
        return
    nursery = os.getpid()
    process = os.fork()
    if process == 0:
        die_with_parent(nursery)
        os._exit(_job(**{name: value for name, value in asked.items() if name != "start"}))
    jobs[process] = asked["start"]
    _answer({"started": asked["start"], "pid": process})


def _answer(content: dict[str, Any]) -> None:
    os.write(1, json.dumps(content).encode() + b"\n")


def _ended_jobs(jobs: dict[int, int]) -> list[tuple[int, int]]:
    found = []
    for process in jobs:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            found.append((process, os.waitstatus_to_exitcode(status)))
    return found


def _job(call: str, words: list[str], folder: str, environment: dict[str, str], threads: int) -> int:
    """Call a function, 'module:function', with `words` in this process; returns the exit code that it gives."""
    os.setsid()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    os.environ.update(environment)
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    print_to(os.open(Path(folder) / CONSOLE, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    return call_function(call, words, threads)


class ForkServer:
    """The process that starts jobs; see kd_runner.sweeps.engines.fork_server."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kd_runner.sweeps.engines.fork_server", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C reaches the driver alone, which passes it on
        )
        self._unread = b""

    def ask(self, content: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RunFailed("the process that starts the jobs has died; see what it printed above") from None

    def answers(self, seconds: float) -> list[dict[str, Any]]:
        """What it said, waiting for it up to so many seconds."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds)
        if readable:
            block = os.read(self._process.stdout.fileno(), 2**16)
            if not block:
                raise RunFailed("the process that starts the jobs has died; see what it printed above")
            self._unread += block
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def devices(self) -> int:
        """How many GPUs there are."""
        self.ask({"count_devices": True})
        while True:
            for answer in self.answers(60):
                return int(answer["devices"])

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    main()
