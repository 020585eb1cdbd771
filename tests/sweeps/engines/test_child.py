"""The function of a job: its exit code, and its end with the process that started it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_runner.sweeps.engines.child import call_function

FUNCTIONS = """
import sys
def returns(words): return len(words)
def exits(words): sys.exit(int(words[0]))
def complains(words): sys.exit("a message")
def raises(words): raise ValueError(words[0])
"""


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [("returns", ["a", "b"], 2), ("exits", ["130"], 130), ("complains", [], 1), ("raises", ["no"], 1)],
)
def test_a_function_gives_an_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    words: list[str],
    code: int,
) -> None:
    (tmp_path / "functions_of_a_job.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    assert call_function(f"functions_of_a_job:{name}", words, 1) == code
    assert ("ValueError: no" in capfd.readouterr().err) == (name == "raises")


GRANDPARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]])
"""
CHILD = """
import os, sys, time
sys.path[:0] = {path!r}
from kd_runner.parent_process import die_with_parent
die_with_parent({parent})
open({file!r}, "w").close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone kills a process with its parent")
def test_a_process_without_its_parent_ends_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lives"
    child = CHILD.format(path=sys.path, parent=2**22 + 1, file=str(file))  # no process has so high a number
    assert subprocess.run([sys.executable, "-S", "-c", child], check=False).returncode == 1
    assert not file.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone kills a process with its parent")
def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "lives"
    child = CHILD.format(path=sys.path, parent="os.getppid()", file=str(file)) + "time.sleep(60)\n"
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", GRANDPARENT + "import time; time.sleep(60)", child], stdout=subprocess.PIPE
    )
    while not file.exists():
        time.sleep(0.01)
    parent.kill()
    started = time.monotonic()
    parent.communicate()  # the child holds the pipe until it ends
    assert time.monotonic() - started < 10
