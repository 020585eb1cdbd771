"""The trackers of a run beside TensorBoard: metrics.csv, and processes that feed a tracker, here one of this file."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracker_files import table

from kd_runner.config.sections import TrackingSettings
from kd_runner.errors import SettingsError
from kd_runner.runs.run import run
from kd_runner.tracking import trackers
from kd_runner.tracking.trackers import Trackers, refuse_missing

FAKE = """
import json, os, pathlib, time

class Settings:
    def __init__(self, **settings): pass

class Run:
    def __init__(self, words):
        self.path, self.summary = pathlib.Path(words["dir"]) / "told.jsonl", self
        self.tell(init={name: words[name] for name in ("id", "name", "group", "tags", "mode")})
    def tell(self, **message):
        with self.path.open("a") as file: file.write(json.dumps(message) + "\\n")
    def define_metric(self, *words, **more): pass
    def log(self, row): self.tell(row=row)
    def update(self, numbers): self.tell(summary=numbers)
    def finish(self, exit_code): self.tell(exit_code=exit_code)

def init(**words):
    if os.environ.get("FAKE") == "fails": raise ConnectionError("no way to the host\\nat all")
    if os.environ.get("FAKE") == "hangs": time.sleep(3600)
    print("a tracker prints what it likes")
    return Run(words)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a run, and a library called wandb that writes down there what it is told."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "wandb.py").write_text(FAKE)
    monkeypatch.syspath_prepend(library)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(library))
    monkeypatch.setenv("HOME", str(tmp_path))  # where a login would be
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def record(folder: Path) -> dict[str, Any]:
    return {
        "root": str(folder),
        "name": "3_dkd",
        "sweep": "mine",
        "seed": 3,
        "tags": ["x"],
        "notes": "",
        "settings": {},
    }


def told(folder: Path, kind: str) -> list[Any]:
    messages = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    return [message[kind] for message in messages if kind in message]


def test_trackers_have_the_numbers_of_the_run(fake: Path, settings: Callable[..., Any]) -> None:
    words = ("student.epochs=2", "tracking.loggers=[csv,wandb]", "tags=[x]", "name=mine", "student=tiny_mlp")
    result = run(settings(*words), fake, words)
    history = json.loads((fake / "analysis.json").read_text())["epochs"]
    expected = {
        (stage, number): {name: value for name, value in epoch.items() if name != "kept"}
        for stage, epochs in history.items()
        for number, epoch in enumerate(epochs, 1)
    }
    tests = {"accuracy": "test_accuracy", "nll": "test_loss", "agreement": "test_agreement"}
    for stage, last in (("teacher", 1), ("baseline", 2), ("student", 2)):
        numbers = {tag: result[stage][name] for name, tag in tests.items() if name in result[stage]}
        expected[stage, last] |= numbers
    assert table(fake) == expected
    sent: dict[tuple[str, int], dict[str, float]] = {}
    for row in told(fake, "row"):
        stage = next(iter(row)).partition("/")[0]
        epoch = row.pop(f"{stage}/epoch")
        sent.setdefault((stage, epoch), {}).update({key.rpartition("/")[2]: value for key, value in row.items()})
    assert sent == expected
    (begun,), (final, ending) = told(fake, "init"), told(fake, "summary")
    assert begun | {"id": ""} == {"id": "", "name": "mine", "group": None, "tags": ["x", "seed 0"], "mode": "offline"}
    assert final["final/student_accuracy"] == result["student"]["accuracy"]
    assert final["final/gain"] == result["student"]["accuracy"] - result["baseline"]["accuracy"]
    assert ending == {"status": "completed"}
    assert told(fake, "exit_code") == [0]
    assert not (fake / "tensorboard").exists()


def test_a_run_that_was_killed_goes_on_in_the_same_run(fake: Path) -> None:
    for attempt, epochs in enumerate(([1, 2], [2, 3])):
        log = Trackers(["csv", "wandb"], fake, record(fake))
        for epoch in epochs:
            log.log_epoch("student", epoch, {"val_loss": 1 / epoch})
        if attempt == 0:  # as the system does when it ends a process
            (feed,) = log.feeds
            feed.close()
            assert feed.wait(60)
        else:
            log.remove_after("student", 3)
            log.end("completed", {"final/gain": 0.1})
    first, second = told(fake, "init")
    assert first == second
    assert first["group"] == "mine"
    assert [row["student/epoch"] for row in told(fake, "row")] == [1, 2, 3]
    assert told(fake, "summary") == [{"status": "killed"}, {"final/gain": 0.1}, {"status": "completed"}]
    assert told(fake, "exit_code") == [1, 0]
    assert table(fake) == {("student", epoch): {"val_loss": 1 / epoch} for epoch in (1, 2, 3)}


def test_epochs_that_are_trained_again_are_not_in_the_table(tmp_path: Path) -> None:
    log = Trackers(["csv"], tmp_path, {})
    for epoch in (1, 2, 3):
        log.log_epoch("student", epoch, {"val_loss": 0.5})
    log = Trackers(["csv"], tmp_path, {})
    log.remove_after("student", 1)
    log.log_epoch("student", 2, {"val_loss": 0.25})
    assert table(tmp_path) == {("student", 1): {"val_loss": 0.5}, ("student", 2): {"val_loss": 0.25}}


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("fails", "note      wandb has no more numbers of this run: no way to the host at all"),
        ("hangs", "note      wandb is not done after 0.5 s, and goes on by itself"),
    ],
)
def test_a_tracker_that_fails_costs_a_line(
    fault: str, line: str, fake: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FAKE", fault)
    monkeypatch.setattr(trackers, "WAIT", 60.0 if fault == "fails" else 0.5)
    caplog.set_level(logging.WARNING)
    log = Trackers(["wandb"], fake, record(fake))
    (feed,) = log.feeds
    if fault == "fails":
        assert feed.wait(60)
    for epoch in range(1, 2000):  # more than a pipe holds
        log.log_epoch("student", epoch, {"val_loss": 0.5})
    log.end("completed")
    assert [record.getMessage() for record in caplog.records] == [line]
    if feed.process is not None:
        feed.process.kill()
        feed.process.wait()


def test_a_run_that_fails_is_closed_as_failed(fake: Path) -> None:
    log = Trackers(["wandb"], fake, record(fake))
    (feed,) = log.feeds
    for epoch in range(1, 100):
        log.log_epoch("student", epoch, {"val_loss": 0.5})
    log.end("failed")
    assert not feed.writer.is_alive()  # all is sent: the run's process may end
    assert feed.wait(60)
    assert len(told(fake, "row")) == 99
    assert told(fake, "summary") == [{"status": "failed"}]
    assert told(fake, "exit_code") == [1]


@pytest.mark.parametrize("cell", ["x" * 200_000, "1,2,3"])
def test_a_damaged_table_costs_no_run(cell: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.csv").write_text(f"stage,epoch,val_loss\nstudent,1,{cell}\n")
    log = Trackers(["csv"], tmp_path, {})
    log.log_epoch("student", 2, {"val_loss": 0.5})
    messages = [record.getMessage() for record in caplog.records]
    if len(cell) > 5:
        assert messages == ["note      csv has no more numbers of this run: field larger than field limit (131072)"]
    else:
        assert table(tmp_path) == {("student", 1): {"val_loss": 1.0}, ("student", 2): {"val_loss": 0.5}}


def test_a_system_without_threads_costs_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    log = Trackers(["wandb"], tmp_path, record(tmp_path))
    log.log_epoch("student", 1, {"val_loss": 0.5})
    log.end("failed")
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["note      wandb has no more numbers of this run: can't start new thread"]


def test_a_full_disk_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Trackers(["csv"], tmp_path / "gone", {})
    log.log_epoch("student", 1, {"val_loss": 0.5})
    log.log_epoch("student", 2, {"val_loss": 0.5})
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("note      csv has no more numbers of this run: ")


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trackio").mkdir()  # Python takes a folder in the working folder for a package
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    refuse_missing(["tensorboard", "csv"])
    with pytest.raises(SettingsError, match=r"^tracking\.loggers: trackio is not installed: pip install 'kd-runner\["):
        refuse_missing(["csv", "trackio"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["wandbb"], r"must be of tensorboard, .*, not wandbb \(did you mean wandb\?\)"),
        ("csv", r"must be a list of tensorboard, .*, such as \[tensorboard,csv\]"),
        (["csv", "csv"], "must name each only once"),
    ],
)
def test_loggers_are_known_ones(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrackingSettings(images=True, graph=True, embedding=True, loggers=value)
