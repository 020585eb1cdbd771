"""A reader that closes what a command prints, as `head` does: the command goes on, and nothing is lost or said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from leaderboard_cases import sweep_of_two_modes

LOGGED = """
import logging, sys
from kd_runner.log_handlers import Console

logging.getLogger().addHandler(Console(sys.stdout))
for _ in range(3):
    logging.warning("a line")
print("a line of another kind")
"""
TINY = ("teacher.epochs=1", "student.epochs=1", "baseline=false", "trainer.accelerator=cpu", "trainer.threads=1")


def run_unread(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python where nobody reads what it prints; the end of the pipe is closed before it starts.

    What it prints stays in its buffer until it is flushed, whatever the environment of the tests says.
    """
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("PYTHONUNBUFFERED", None)
    try:
        return subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True,
            timeout=600,
        )  # fmt: skip
    finally:
        os.close(writer)


def test_the_log_and_what_is_printed_after_it_go_nowhere(tmp_path: Path) -> None:
    ended = run_unread(tmp_path, "-c", LOGGED)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_report_writes_all_before_it_prints(tmp_path: Path) -> None:
    sweep_of_two_modes(tmp_path / "sweep")
    ended = run_unread(
        tmp_path, "-c", "from kd_runner.reports.report_arguments import main; raise SystemExit(main())", "sweep"
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    for name in ("report.html", "leaderboard.csv", "leaderboard.md"):
        assert (tmp_path / "sweep" / name).stat().st_size > 0, name
    assert list((tmp_path / "sweep").rglob("events.out.tfevents*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("kd_runner", "--version"),
        ("kd_runner", "--help"),
        ("kd_runner", "help teacher"),
        ("kd_runner", "help student.epochs"),
        ("kd_runner", "dataset=?"),
        ("kd_runner", "store --help"),
        ("kd_runner", "stop --help"),
        ("kd_runner.proof.report_command", "--help"),
        ("kd_runner.deploy.predict_command", "--help"),
        ("kd_runner.deploy.evaluate_command", "--help"),
        ("kd_runner.deploy.export_command", "--help"),
    ],
)
def test_an_answer_that_nobody_reads_ends_without_a_complaint(tmp_path: Path, module: str, words: str) -> None:
    ended = run_unread(tmp_path, "-m", module, *words.split())
    assert ended.returncode == 0
    assert ended.stderr == ""


@pytest.mark.slow
def test_a_sweep_goes_on_without_its_reader(tmp_path: Path) -> None:
    words = ("-m", "seed=0,1", *TINY, "hydra.sweep.dir=sweep")
    ended = run_unread(tmp_path, "-m", "kd_runner", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(list((tmp_path / "sweep").glob("[01]/result.json"))) == 2
    assert (tmp_path / "sweep" / "report.html").is_file()


@pytest.mark.slow
def test_a_run_goes_on_without_its_reader(tmp_path: Path) -> None:
    ended = run_unread(tmp_path, "-m", "kd_runner", *TINY)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(list(tmp_path.glob("outputs/runs/*/result.json"))) == 1
