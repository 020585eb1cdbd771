"""`kd-runner stop`: what it asks for, what it says, and one clear line where there is nothing to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from kd_runner.command_line.other_commands import run_other_command
from kd_runner.files import atomic
from kd_runner.files.run_folder import GRID, JOURNAL, LOCK, LOG, MULTIRUN, RESULT, STOP
from kd_runner.sweeps import stop_command
from kd_runner.sweeps.stop_requests import RequestReader, answer


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a sweep of three jobs, of which the first has completed."""
    monkeypatch.setattr(stop_command, "UNLOCKED", 0.0)
    monkeypatch.setattr(stop_command, "LOCKED", 0.2)
    folder = tmp_path / "sweep"
    (folder / "0").mkdir(parents=True)
    atomic.write_json(folder / GRID, {"jobs": ["a", "b", "c"], "folders": ["0", "1", "2"]})
    atomic.write_json(folder / "0" / RESULT, {"status": "completed"})
    (folder / LOCK).touch()
    return folder


@pytest.fixture
def driver(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """A process that runs the sweep and answers: what it was asked for."""
    monkeypatch.setattr(stop_command, "UNLOCKED", 20.0)
    monkeypatch.setattr(stop_command, "LOCKED", 20.0)
    asked, reader, is_over = list[object](), RequestReader(sweep), threading.Event()

    def run() -> None:
        while not is_over.wait(0.01):
            for request in reader.new_requests():
                asked.append(request.jobs)
                all_jobs = {"all": True, "ended": [1]}
                answer(request, all_jobs if request.jobs is None else {"ended": [1], "skipped": [2], "over": [0]})

    thread = threading.Thread(target=run)
    thread.start()
    yield asked
    is_over.set()
    thread.join()


def test_it_says_what_the_driver_answers(sweep: Path, driver: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_other_command(["stop", str(sweep), "2", "#1", "0", "2"]) == 0
    assert run_other_command(["stop", str(sweep)]) == 0
    assert driver == [(0, 1, 2), None]
    assert capsys.readouterr().out.splitlines() == [
        "#1 will end; #2 will not start; #0 had ended before",
        f"{sweep} ends; to go on: kd-runner resume={sweep}",
    ]
    assert not (sweep / STOP).exists()


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run_other_command(["stop", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.strip().removeprefix("kd-runner: stop: ")


def test_where_there_is_nothing_to_stop_one_line_says_why(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, sweep, 3, 9) == f"{sweep} has no job #3, #9: its jobs are #0 to #2"
    assert refusal(capsys, sweep, "one") == "a job is named by its number, got one"
    assert refusal(capsys, sweep, "1\N{SUPERSCRIPT TWO}") == "a job is named by its number, got 1\N{SUPERSCRIPT TWO}"
    assert refusal(capsys, sweep / "no").startswith("no folder")
    assert refusal(capsys, sweep / "0") == f"{sweep / '0'} holds no sweep"
    (sweep / "0" / LOG).touch()
    assert refusal(capsys, sweep / "0") == f"{sweep / '0'} holds a run and no sweep: end it with Ctrl-C where it runs"
    going_on = f"no process runs {sweep}, in which 1 of 3 jobs has completed; to go on: kd-runner resume={sweep}"
    assert refusal(capsys, sweep, 1) == going_on
    assert not (sweep / STOP).exists()
    with FileLock(sweep / LOCK):
        assert "does not answer: its jobs may still be checked" in refusal(capsys, sweep, 1)
    for name in "12":
        (sweep / name).mkdir()
        atomic.write_json(sweep / name / RESULT, {"status": "completed"})
    assert refusal(capsys, sweep) == f"{sweep} is over: its 3 jobs have completed"
    (sweep / STOP).symlink_to(sweep / "0")
    assert refusal(capsys, sweep) == f"{sweep / STOP} must be no link, as it would be written to: remove the link"
    (sweep / GRID).write_text('{"folders": [1]}')
    assert refusal(capsys, sweep) == f"{sweep / GRID} cannot be read"
    (sweep / GRID).unlink()
    (sweep / MULTIRUN).touch()
    assert "its jobs are being checked" in refusal(capsys, sweep)
    (sweep / JOURNAL).touch()
    assert refusal(capsys, sweep) == f"{sweep} is a search: end it with Ctrl-C where it runs"
