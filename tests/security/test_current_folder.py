"""No module of the folder that a person stands in is run by a process that kd-runner starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kd_runner
from kd_runner.child_python import python_command, python_for_shell

STARTS = """
import multiprocessing, sys
from multiprocessing import resource_tracker
from kd_runner.child_python import settle_module_search

def names(writer):
    writer.send([sys.path, "secrets" in sys.modules])

if __name__ == "__main__":
    settle_module_search()
    settle_module_search()
    resource_tracker.ensure_running()
    for method in ("forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        context.set_forkserver_preload(["secrets"])
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=names, args=(writer,))
        process.start()
        path, is_preloaded = reader.recv()
        process.join()
        print(path == sys.path, is_preloaded, process.exitcode)
"""


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules that leave a mark, named as Python's own that a process needs first; the test is there."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in ("multiprocessing", "runpy", "secrets", "kd_runner", "json", "importlib"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__)\n")
    monkeypatch.chdir(folder)
    return folder


def test_multiprocessing_takes_no_module_of_the_current_folder(tmp_path: Path, downloaded: Path) -> None:
    (tmp_path / "starts.py").write_text(STARTS)
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, tmp_path / "starts.py"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout == "True True 0\nTrue False 0\n", done.stderr
    assert not (tmp_path / "ran").exists()


def test_neither_does_a_module_that_is_run(tmp_path: Path, downloaded: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "set_later")}
    (tmp_path / "set_later").mkdir()
    (tmp_path / "set_later" / "words.py").write_text(
        "import multiprocessing, json, sys\nprint(__name__, sys.argv[1:], __spec__.name, sys.path[0])\n"
    )
    expected = f"__main__ ['-m', 'a b'] words {tmp_path / 'set_later'}\n"
    for command in (
        python_command("words", "-m", "a b"),
        ["sh", "-c", f"{python_for_shell()} -u -m words -m 'a b'"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.stdout == expected, done.stderr
    assert not (tmp_path / "ran").exists()


def test_the_folder_of_a_trusted_package_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("print('ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # as a typed `trust` does
    assert subprocess.run(python_command("mine"), capture_output=True, text=True).stdout == "ran\n"


def test_a_path_that_is_no_text_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python passes it over; notebooks add such."""
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere")])
    for command in (python_command("this"), ["sh", "-c", f"{python_for_shell()} -m this"]):
        assert subprocess.run(command, capture_output=True, text=True).stdout.startswith("The Zen of Python")


def test_no_other_module_writes_a_command_line_of_python() -> None:
    """Outside of `child_python`, Python is started in isolation alone."""
    package = Path(kd_runner.__file__).parent
    texts = {path: path.read_text() for path in package.rglob("*.py") if path.name != "child_python.py"}
    lines = [line for text in texts.values() for line in text.splitlines() if "sys.executable" in line]
    assert lines
    assert all('sys.executable, "-I"' in line for line in lines), lines
