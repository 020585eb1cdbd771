"""A function in several processes that meet, as those of a run on several devices do."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed import FileStore

from kd_runner.process_group import ProcessGroup

SECONDS = 60.0  # until a process that hangs is ended


def in_processes(count: int, folder: Path, work: Callable[[ProcessGroup], Any]) -> list[Any]:
    """The answers of `work`, called with the process group in each of `count` processes, which are copies of this one.

    Answers are plain data and tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work, args=(rank, count, folder, work)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * count
    return [torch.load(folder / f"answer{rank}", weights_only=True) for rank in range(count)]


def _work(rank: int, count: int, folder: Path, work: Callable[[ProcessGroup], Any]) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    code = 1
    try:
        process_group = ProcessGroup(rank, count)
        process_group.join(FileStore(str(folder / "store"), count), on_gpu=False)
        torch.save(work(process_group), folder / f"answer{rank}")
        process_group.leave()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without what pytest does at the end of a process
