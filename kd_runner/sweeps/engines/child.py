"""A command of a sweep, in a process that ends with its parent.

Usage: `python -m kd_runner.sweeps.engines.child PID THREADS CALL …`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from kd_runner.threads import settle_threads

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """The command of the words after the process to end with, the number of threads, and the function of the words."""
    parent, threads, call, *words = sys.argv[1:]
    die_with_parent(int(parent))
    return call_function(call, words, int(threads))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, that process, ends; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)


def call_function(call: str, words: Sequence[str], threads: int) -> int:
    """Call a function, 'module:function', with `words`; returns the exit code that it gives."""
    settle_threads()
    import torch

    torch.set_num_threads(threads)
    module, _, name = call.partition(":")
    try:
        return int(getattr(importlib.import_module(module), name)(list(words)))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def print_to(console: int) -> None:
    """Send what this process prints to an open file."""
    for number in (1, 2):
        os.dup2(console, number)


if __name__ == "__main__":
    sys.exit(main())
