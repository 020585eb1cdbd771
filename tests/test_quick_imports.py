"""Imports that leave out what nobody here needs, and what they leave behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd_runner.quick_imports import quick_imports

IN_A_PROCESS = """
import gc, sys
from kd_runner.quick_imports import quick_imports
with quick_imports():
    assert not gc.isenabled()
    import {modules}
{check}
"""


def run(modules: str, check: str) -> None:
    subprocess.run([sys.executable, "-c", IN_A_PROCESS.format(modules=modules, check=check)], check=True)


@pytest.mark.slow
def test_lightning_comes_without_scipy_signal_which_is_there_for_whoever_needs_it() -> None:
    check = (
        "assert not any(name.startswith('scipy.signal') for name in sys.modules)\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000\n"
        "import scipy.signal; assert scipy.signal.convolve([1, 1], [1, 1]).tolist() == [1, 2, 1]"
    )
    run("pytorch_lightning", check)


@pytest.mark.parametrize("needed", ["scipy.signal.windows", "scipy.signal, scipy; scipy.signal.windows"])
def test_a_package_that_needs_scipy_signal_gets_it_at_once(needed: str) -> None:
    run(needed, "from scipy.signal import windows; assert windows.hamming(3).tolist()[1] == 1")


def test_the_garbage_collector_stays_off_where_it_was() -> None:
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


# What C's exit calls with the status and a text; dprintf takes the status for the number of the file.
LAST_WORDS = """
import ctypes
libc = ctypes.CDLL(None)
libc.strdup.restype = ctypes.c_void_p
libc.on_exit(libc.dprintf, ctypes.c_void_p(libc.strdup(b"leaked")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="on_exit is of Linux")
@pytest.mark.parametrize(("module", "written"), [("triton", "said"), ("other", "saidleaked")])
def test_only_tritons_last_words_are_not_written(tmp_path: Path, module: str, written: str) -> None:
    (tmp_path / f"{module}.py").write_text(LAST_WORDS)
    script = (
        "import atexit, sys\nfrom kd_runner.quick_imports import quick_imports\n"
        f"with quick_imports():\n    import {module}\n"
        "atexit.register(sys.stderr.write, 'said')\nsys.exit(2)"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, written)
