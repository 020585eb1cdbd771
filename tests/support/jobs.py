"""Whole kd-runner commands in processes of their own, which need not import torch anew, to be killed and watched."""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["job_imports", "jobs"])


class Job:
    """A command that runs in `folder`; what it prints goes to OUT.out and OUT.err there.

    Args:
        patch: 'module:function' of the tests, called in the process before the command.
    """

    def __init__(self, folder: Path, *words: str, out: str = "job", patch: str = "") -> None:
        self.folder, self.out = folder, out
        self.started = time.monotonic()
        arguments = (str(folder), words, out, patch, dict(os.environ))
        _start_server()
        self.process = CONTEXT.Process(target=_command, args=arguments)
        self.process.start()

    def wait(self, seconds: float = 600) -> int:
        """The exit code; negative where a signal ended it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still running after {seconds} s: {self.text('out')[-2000:]}")
        return self.process.exitcode

    def until(self, reached: Callable[[], bool], seconds: float = 300) -> None:
        """Wait until `reached`, while the command runs."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline or not self.process.is_alive():
                raise TimeoutError(f"not reached: {self.text('out')[-2000:]}{self.text('err')[-2000:]}")
            time.sleep(0.005)

    def text(self, stream: str) -> str:
        path = self.folder / f"{self.out}.{stream}"
        return path.read_text() if path.exists() else ""


def finished(folder: Path, *words: str, **settings: str) -> Job:
    """A command that has ended well."""
    job = Job(folder, *words, **settings)
    assert job.wait() == 0, job.text("err")
    return job


def _start_server() -> None:
    """Start the fork server where there is none. It finds what it is to import in PYTHONPATH alone."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _command(folder: str, words: tuple[str, ...], out: str, patch: str, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)  # that of the test, and not of the one that started the server
    with contextlib.suppress(OSError):
        for stream, number in (("out", 1), ("err", 2)):
            file = os.open(f"{out}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
    sys.argv = ["kd-runner", *words]
    import torch

    torch.set_num_threads(1)
    from kd_runner.cli import main

    if patch:
        module, _, name = patch.partition(":")
        getattr(importlib.import_module(module), name)()
    if "-m" in words or any(word.startswith("resume=") for word in words):
        fork_the_fork_server()
    code = main()
    sys.stdout.flush()
    sys.exit(code)


def fork_the_fork_server() -> None:
    """Start the fork server of a sweep as a fork of this process, which has imported what it would import.

    All else is as in a sweep: the server is a process of its own, and its jobs are processes that it forks.
    """
    from kd_runner.sweeps.engines.fork_server import ForkServer

    def fork(_python: object, arguments: Sequence[str | bytes], passed: Sequence[int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            highest = max(passed) + 1
            for number in range(3, highest):
                if number not in passed:
                    with contextlib.suppress(OSError):
                        os.close(number)
            os.closerange(highest, 4096)
            exec(os.fsdecode(arguments[-1]), {})
        finally:
            os._exit(0)

    spawn, util.spawnv_passfds = util.spawnv_passfds, fork
    try:
        ForkServer()
    finally:
        util.spawnv_passfds = spawn


def result_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def numbers_of(result: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in the results of two runs with the same settings."""
    result = json.loads(json.dumps(result))
    for stage in ("teacher", "baseline", "student"):
        if result[stage]:
            result[stage].pop("checkpoint")
            result[stage].pop("latency")
            result[stage].pop("inference")
            result[stage].get("ema", {}).pop("checkpoint", None)
    result["environment"].pop("side_by_side", None)
    return {name: value for name, value in result.items() if name not in ("seconds", "overrides")}
