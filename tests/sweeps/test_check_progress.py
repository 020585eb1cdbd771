"""The progress of a check: nothing for a quick one, a line on a terminal that goes, few lines elsewhere."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from kd_runner.sweeps import check_progress
from kd_runner.sweeps.check_progress import CheckProgress, ProgressFile, read_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [100.0]
    monkeypatch.setattr(check_progress.time, "monotonic", lambda: now[0])
    return now


def test_few_lines_tell_of_a_long_check(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with CheckProgress("composing", 1000) as progress:
        for done in range(1000):
            progress.show(done)
            clock[0] += 1 / 32
    assert caplog.messages == [
        "composing 64 of 1000 jobs, about 0:29 left",
        "composing 544 of 1000 jobs, about 0:14 left",
    ]
    caplog.clear()
    with CheckProgress("checking", 50) as progress:
        for done in range(50):
            progress.show(done)
            clock[0] += 1 / 32
    with CheckProgress("checking", 49) as progress:  # too few for lines
        clock[0] += 60
        progress.show(3)
    assert caplog.messages == []


def test_a_terminal_shows_one_line_that_goes(clock: list[float]) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60)
    with CheckProgress("checking", 80, console) as progress:
        progress.show(1)
        assert out.getvalue() == ""
        clock[0] += 4
        progress.show(20)
        assert "checking  20 of 80 jobs, about 0:12 left" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")  # the line is erased


def test_a_process_tells_another_how_far_it_is(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) == 0
    file = ProgressFile(path)
    file.write(0)
    file.write(7)  # at once: not written
    assert read_progress(path) == 0
    clock[0] += 1
    file.write(8)
    assert read_progress(path) == 8
    path.write_text('{"done": "many"}')
    assert read_progress(path) == 0
