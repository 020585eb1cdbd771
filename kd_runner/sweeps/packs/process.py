"""The process of a pack: its jobs run side by side, each as the command that it would be by itself."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kd_runner import redaction
from kd_runner.command_line.composition_cache import CACHE
from kd_runner.errors import COMPLETED, FAILED, TERMINATED
from kd_runner.files import atomic
from kd_runner.files.run_folder import CONSOLE, RESULT, holds_a_run
from kd_runner.runs.companions import Companions
from kd_runner.sweeps.packs.tasks import ENDED, LEFT_OUT
from kd_runner.sweeps.packs.turns import Turns

_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h> of the GNU C library


def run_pack(words: Sequence[str]) -> int:
    """Run the jobs that are listed in the file `words[0]`; returns 0, however they end.

    The file holds {"folder": the pack's folder, "timeout_s": seconds of each job or null, "shares":
    true where other packs of this machine may have the same batches, "jobs": [{"name", "folder",
    "call", "words", "again"}]}. How each job ended is written into the pack's folder at once, so that a process which
    is started again leaves out those that have ended.
    """
    plan = json.loads(Path(words[0]).read_text())
    record = Path(plan["folder"]) / ENDED
    ended = atomic.read_json(record)
    jobs = [job for job in plan["jobs"] if job["name"] not in ended]
    _use_one_arena()
    CACHE.enable()
    signal.signal(signal.SIGTERM, _terminate)
    turns = Turns()
    companions = Companions(len(plan["jobs"]), turns.wait, Path(words[0]).parent if plan["shares"] else None)
    works = [partial(_run_job, job, number, companions, record, turns) for number, job in enumerate(jobs)]
    names = [job["name"] for job in jobs]
    turns.run(works, torch.get_num_threads(), plan["timeout_s"], lambda: left_out(record.with_name(LEFT_OUT), names))
    return COMPLETED


def left_out(record: Path, names: Sequence[str]) -> set[int]:
    """The positions in `names` of the jobs that a file names which are to end, or not to start."""
    listed = atomic.read_json(record).get("jobs")
    return {number for number, name in enumerate(names) if isinstance(listed, list) and name in listed}


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)


def _run_job(job: Mapping[str, Any], number: int, companions: Companions, record: Path, turns: Turns) -> None:
    """Run one job in this thread, the one of this number, with its own output, and write down how it ended."""
    if turns.is_unwanted(number):
        _write_end(record, job["name"], {"code": TERMINATED, "seconds": 0.0, "timed_out": False, "left_out": True})
        return
    folder, started = Path(job["folder"]), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CONSOLE).open("a", buffering=1, encoding="utf-8", errors="replace") as console:
        sys.stdout = sys.stderr = console
        for logger in (logging.getLogger(), logging.getLogger("kd_runner.problems")):
            logger.handlers[:] = []
        code = _exit_code(job, folder, companions)
        for handler in logging.getLogger().handlers:
            handler.close()
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    is_left_out = code == TERMINATED and turns.is_unwanted(number)
    timed_out = code == TERMINATED and not is_left_out and not turns.is_stopping
    if code != TERMINATED or timed_out or is_left_out:  # else it has not ended: it goes on in another process
        end = {"code": code, "seconds": round(time.monotonic() - started, 3), "timed_out": timed_out}
        _write_end(record, job["name"], end | ({"left_out": True} if is_left_out else {}))


def _write_end(record: Path, name: str, end: Mapping[str, Any]) -> None:
    atomic.write_json(record, {**atomic.read_json(record), name: end})


def _exit_code(job: Mapping[str, Any], folder: Path, companions: Companions) -> int:
    if atomic.read_json(folder / RESULT).get("status") == "completed":
        return COMPLETED
    try:
        module, _, name = job["call"].partition(":")
        function = getattr(importlib.import_module(module), name)
        return int(function(job["again"] if holds_a_run(folder) else job["words"], companions))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except BaseException:
        redaction.print_exception(*sys.exc_info())
        return FAILED


def _use_one_arena() -> None:
    """Have the C library give all threads memory from one place.

    Only one thread runs at a time, and what one has freed is there for the next, also where `trainer.keep_memory`
    keeps it from the kernel.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
