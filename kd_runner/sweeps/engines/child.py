"""A command of a sweep, in a process that ends with its parent.

Usage: `python -m kd_runner.sweeps.engines.child PID THREADS CALL WORD …`, with the process ID of the parent and the
function, 'module:function', that is called with the words.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from kd_runner import redaction
from kd_runner.parent_process import die_with_parent
from kd_runner.quick_imports import quick_imports
from kd_runner.threads import settle_threads

DRIVER = "KD_RUNNER_DRIVER"  # the variable that gives the fork server the process ID of the driver


def main() -> int:
    """Run the command that the module's docstring describes; returns its exit code."""
    parent, threads, call, *words = sys.argv[1:]
    die_with_parent(int(parent))
    return call_function(call, words, int(threads))


def call_function(call: str, words: Sequence[str], threads: int) -> int:
    """Call a function, 'module:function', with `words`; returns the exit code that it gives."""
    settle_threads()
    with quick_imports():
        import torch

    torch.set_num_threads(threads)
    module, _, name = call.partition(":")
    try:
        return int(getattr(importlib.import_module(module), name)(list(words)))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        redaction.print_exception(*sys.exc_info())
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
