"""Python processes that this one starts: they look for modules where this process does, and nowhere else.

`python -c` and `python -m` put the current folder in front of `sys.path`: a `multiprocessing.py` that lies there would
run in place of Python's own. `PYTHONSAFEPATH` and `-P` forbid that, but not before Python 3.11, and the variable
would reach what a job starts itself. Here each process gets its parent's `sys.path` before it imports anything.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from multiprocessing import util
from typing import Any

# Folders that this process lacks are those of a PYTHONPATH that was set in between, by a cluster's setup say.
SETTLE = "import sys; path = {path!r}; sys.path[:] = [name for name in sys.path if name not in ['', *path]] + path; "
RUN = "del sys.argv[: sys.argv.index('-m') + 1]; import runpy; runpy.run_module(sys.argv[0], None, '__main__', True)"


def _settle() -> str:
    """The first words of a child's program. As Python does, it passes over paths that are no texts."""
    return SETTLE.format(path=[name for name in sys.path if isinstance(name, str)])


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module as `python -m` does, without looking for modules in the current folder."""
    return [sys.executable, "-c", _settle() + RUN, "-m", module, *arguments]


def python_for_shell() -> str:
    """A command for a shell script that takes '-u -m MODULE ARGUMENT …' as `python` does, and looks for it as above."""
    return shlex.join([sys.executable, "-u", "-c", _settle() + RUN])


def settle_module_search() -> None:
    """Have the processes that multiprocessing starts from now on look for modules where this process does.

    multiprocessing starts its fork server, its resource tracker and spawned workers as `python -c`, and gives them this
    process's `sys.path` only after they have imported `multiprocessing`.
    """
    if getattr(util.spawnv_passfds, "__module__", "") == __name__:
        return
    start_process: Any = util.spawnv_passfds

    def spawnv_passfds(path: Any, args: Sequence[Any], passfds: Sequence[int]) -> int:
        args = list(args)
        if "-c" in args[:-1]:
            code = args.index("-c") + 1
            args[code] = _settle() + args[code]
        return int(start_process(path, args, passfds))

    util.spawnv_passfds = spawnv_passfds
