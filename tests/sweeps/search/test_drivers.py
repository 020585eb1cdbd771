"""Several drivers of one search: no trial twice, none too many, and none lost with the driver that had it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from optuna.trial import TrialState
from searches import WORDS, compose, search_settings, space, trials_of  # skips where Optuna is not installed

from kd_runner.errors import SettingsError
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.drivers import (
    JournalLock,
    is_locked,
    is_name_of_driver,
    living_drivers,
    mend_journal,
)
from kd_runner.sweeps.search.study import driver_of
from kd_runner.sweeps.search.trials import Trials


def finish(trials: Trials, number: int) -> str:
    """Have a run of a trial end as completed; its accuracy is a function of its number."""
    job = trials.jobs[number]
    job.folder.mkdir(exist_ok=True)
    student = {"best_val": {"val_accuracy": 0.5 + number / 100}}
    (job.folder / "result.json").write_text(json.dumps({"status": "completed", "student": student}))
    return trials.tell_outcome(job, Task(job.name, job.folder, [], [], code=0), None)[0]


@pytest.mark.parametrize("storage", ["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_drivers_share_one_search(tmp_path: Path, storage: str) -> None:
    """Two drivers that take turns come to as many trials as the search has, and propose what one alone would."""
    storage = storage if storage == "journal" else f"sqlite:///{tmp_path}/study.db"
    folder, view = tmp_path / "many", LiveView(7)
    with ExitStack() as stack:
        drivers = [stack.enter_context(driver_of(folder, storage)) for _ in range(2)]
        assert len(living_drivers(folder)) == 2
        both = [trials_of(driver, storage, sampler="random") for driver in drivers]
        asked: list[int] = []
        for turn in range(12):
            asked += [job.number for job in both[turn % 2].new_trials(1, view)]
            if asked and turn % 3 == 0:
                finish(both[asked[-1] % 2], asked[-1])
        assert asked == list(range(7))
        for number in range(7):
            finish(both[number % 2], number) if both[0].all()[number].state == TrialState.RUNNING else None
        outcomes = [trials.outcome() for trials in both]
        many = [trial.params for trial in both[0].all()]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].trials_left == 0
    record = json.loads((folder / "search.json").read_text())
    assert record["trials"] == {"complete": 7, "pruned": 0, "fail": 0}
    assert record["best"][0]["number"] == 6
    assert json.loads((folder / "sweep.json").read_text())["folders"] == [str(number) for number in range(7)]
    assert not living_drivers(folder)
    with driver_of(tmp_path / "one", None) as driver:
        alone = Trials(search_settings(trials=7, sampler="random"), space(*WORDS), driver, [], compose)
        alone.new_trials(7, view)
        assert [trial.params for trial in alone.all()] == many


def test_the_trials_of_a_dead_driver_are_taken_over_once(tmp_path: Path) -> None:
    view = LiveView(7)
    with driver_of(tmp_path, "journal") as first:
        trials = trials_of(first, "journal")
        trials.new_trials(3, view)
        finish(trials, 1)
        with driver_of(tmp_path, "journal") as second:
            assert trials_of(second, "journal").orphans() == []  # the first one lives
    with driver_of(tmp_path, "journal") as second, driver_of(tmp_path, "journal") as third:
        ours, theirs = trials_of(second, "journal"), trials_of(third, "journal")
        assert [(job.number, name) for job, name in ours.orphans(1)] == [(0, first.name)]
        assert [(job.number, name) for job, name in theirs.orphans()] == [(2, first.name)]
        assert ours.orphans() == theirs.orphans() == []
        assert ours.is_left_to_others()
        assert finish(trials, 0) == "left"  # a driver that only seemed to be dead
        assert ours.all()[0].state == TrialState.RUNNING
        assert finish(ours, 0) == "done"


def test_the_number_of_trials_is_that_of_the_search(tmp_path: Path) -> None:
    with driver_of(tmp_path, "journal") as first, driver_of(tmp_path, "journal") as second:
        few = trials_of(first, "journal", 3)
        assert len(few.new_trials(9, LiveView(3))) == 3
        more = trials_of(second, "journal", 5)
        assert (few.planned_count, more.planned_count) == (5, 5)
        assert [job.number for job in few.new_trials(9, LiveView(3))] == [3, 4]
        assert more.new_trials(9, LiveView(3)) == []


def test_a_search_of_one_driver_has_one(tmp_path: Path) -> None:
    with (
        driver_of(tmp_path, None),
        pytest.raises(SettingsError, match="shares its search with none runs"),
        driver_of(tmp_path, "journal"),
    ):
        pass
    assert not (tmp_path / ".drivers").exists()
    with (
        driver_of(tmp_path, "journal") as driver,
        pytest.raises(SettingsError, match=f"beside {driver.name}, such as"),
        driver_of(tmp_path, None),
    ):
        pass


def test_a_killed_driver_is_dead_at_once(tmp_path: Path) -> None:
    """The lock of a file says so, which the system takes from a killed process."""
    code = "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True)"
    code += "; time.sleep(99)"
    path = tmp_path / "a.alive"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert is_locked(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while is_locked(path):
        assert time.monotonic() < deadline
    assert not is_locked(tmp_path / "none.alive")


def test_a_driver_that_starts_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was refused removes nothing of another that has locked its file and has no folder by now, or too."""
    drivers = tmp_path / ".drivers"
    with ExitStack() as stack:
        stack.enter_context(driver_of(tmp_path, None))
        drivers.mkdir()
        for name in ("early", "later", "dead"):
            stack.enter_context(FileLock(drivers / f"{name}.alive")) if name != "dead" else None
            (drivers / name).mkdir() if name != "early" else None
        with pytest.raises(SettingsError, match="shares its search with none runs"), driver_of(tmp_path, "journal"):
            pass
        assert sorted(path.name for path in drivers.iterdir()) == ["early.alive", "later", "later.alive"]
        assert living_drivers(tmp_path) == ["early", "later"]

    acquire, folder = FileLock.acquire, tmp_path / "b"

    def acquire_late(lock: FileLock, *words: Any, **options: Any) -> Any:
        monkeypatch.setattr(FileLock, "acquire", acquire)
        (folder / ".drivers").rmdir()  # as a driver that is refused at this moment does
        return acquire(lock, *words, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire_late)
    with driver_of(folder, "journal") as driver:
        assert living_drivers(folder) == [driver.name]
        assert driver.folder.is_dir()


@pytest.mark.parametrize(
    ("content", "mended"),
    [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"a", b""), (b"a\n" + b"b" * 200_000, b"a\n")],
)
def test_half_a_line_is_cut_off_the_journal(tmp_path: Path, content: bytes, mended: bytes) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(content)
    mend_journal(journal)
    assert journal.read_bytes() == mended
    journal.write_bytes(content)
    lock = JournalLock(journal)
    lock.acquire()
    assert journal.read_bytes() == mended
    lock.release()


def test_names_of_drivers_lead_nowhere() -> None:
    assert all(map(is_name_of_driver, ("", "node7-123-ab", "a.b")))
    assert not any(map(is_name_of_driver, ("..", ".a", "a/b", "/a", None, 3, "a\n")))
