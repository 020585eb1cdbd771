"""Output that is closed from the start, or cannot print all letters: commands work, and say what they can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import logging, sys
from kd_runner.closed_output import answer, may_be_closed
from kd_runner.log_handlers import Console
from kd_runner.terminal import is_terminal

@may_be_closed
def command():
    print("note: für", file=sys.stderr)
    logging.getLogger().addHandler(Console(sys.stdout))
    logging.warning("cnn → cnn")
    print("two → three")
    answer("größer → kleiner")
    with open("result.txt", "w") as file:
        file.write(f"{is_terminal()} {file.fileno() > 2}")
    return 0

sys.exit(command())
"""
LIBRARY = """
import logging, os, sys
from kd_runner.log_handlers import Console
from kd_runner.terminal import is_terminal, terminal_width

logging.getLogger().addHandler(Console(sys.stdout))
logging.warning("cnn → cnn")
with open("result.txt", "w") as file:
    file.write(f"{is_terminal()} {terminal_width()}")
"""
TINY = ("teacher.epochs=1", "student.epochs=1", "trainer.accelerator=cpu", "trainer.threads=1", "hydra.run.dir=run")


def run_python(folder: Path, closed: str, *words: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """Run Python with output that prints these letters; `closed` are redirections of the shell, such as '>&-'."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, *words], cwd=folder, env=environment,
        capture_output=True, encoding=encoding, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("closed", "stdout", "stderr"),
    [
        (">&-", "", "note: für\n"),
        ("2>&-", "cnn → cnn\ntwo → three\ngrößer → kleiner\n", ""),
        (">&- 2>&-", "", ""),
        ("<&- >&- 2>&-", "", ""),
    ],
)
def test_a_command_with_closed_output_does_its_work(tmp_path: Path, closed: str, stdout: str, stderr: str) -> None:
    ended = run_python(tmp_path, closed, "-c", COMMAND)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, stdout, stderr)
    assert (tmp_path / "result.txt").read_text() == "False True"


@pytest.mark.parametrize(("encoding", "letters"), [("latin-1", "üöß"), ("ascii", "???")])
def test_letters_that_cannot_be_printed_are_question_marks(tmp_path: Path, encoding: str, letters: str) -> None:
    ended = run_python(tmp_path, "", "-c", COMMAND, encoding=encoding)
    u, o, s = letters
    assert ended.stdout.split("\n") == ["cnn ? cnn", "two ? three", f"gr{o}{s}er ? kleiner", ""]
    assert (ended.returncode, ended.stderr) == (0, f"note: f{u}r\n")


@pytest.mark.parametrize(("closed", "encoding"), [(">&-", "utf-8"), ("", "latin-1")])
def test_a_program_with_such_output_is_not_disturbed(tmp_path: Path, closed: str, encoding: str) -> None:
    ended = run_python(tmp_path, closed, "-c", LIBRARY, encoding=encoding)
    assert (ended.returncode, ended.stdout) == (0, "" if closed else "cnn ? cnn\n")
    assert ended.stderr == ("cnn → cnn\n" if closed else "")
    assert (tmp_path / "result.txt").read_text() == "False None"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_on_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    program = "from kd_runner.deploy.commands import *; run_command('kd-x', lambda: deliver('a', None))"
    ended = run_python(tmp_path, "> /dev/full", "-c", program)
    assert ended.stderr.split("\n")[0] == "kd-x: what is printed cannot be written (No space left on device)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("kd_runner", "--version"),
        ("kd_runner", "help student.epochs"),
        ("kd_runner", "store --help"),
        ("kd_runner", "stop --help"),
        ("kd_runner.proof.report_command", "--help"),
        ("kd_runner.deploy.predict_command", "--help"),
        ("kd_runner.deploy.evaluate_command", "--help"),
        ("kd_runner.deploy.export_command", "--help"),
    ],
)
def test_an_answer_into_closed_output_ends_without_a_complaint(tmp_path: Path, module: str, words: str) -> None:
    ended = run_python(tmp_path, ">&-", "-m", module, *words.split())
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_a_run_with_closed_output_completes(tmp_path: Path) -> None:
    ended = run_python(tmp_path, "<&- >&- 2>&-", "-m", "kd_runner", *TINY)
    assert ended.returncode == 0
    assert '"status": "completed"' in (tmp_path / "run" / "result.json").read_text()


@pytest.mark.slow
def test_a_run_says_its_result_in_latin_1(tmp_path: Path) -> None:
    ended = run_python(tmp_path, "", "-m", "kd_runner", *TINY, encoding="latin-1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "cnn ? cnn" in ended.stdout
    assert "baseline" in ended.stdout
