"""Callbacks of a stage: what watchers can read while it runs, and the lines of a log."""

from __future__ import annotations

import itertools
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer
from small_training import classifier, fitted

from kd_runner.files.run_folder import NOW
from kd_runner.training.callbacks import EpochLines, SaveResumeState, place_of
from kd_runner.training.classifier import Classifier
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.stopping import Stopping


def test_watchers_see_the_epochs_that_have_ended(tmp_path: Path) -> None:
    module = fitted(classifier(epochs=2), tmp_path / "run", resume_state=ResumeState(tmp_path / "state", "digest"))
    content = json.loads((tmp_path / "run" / NOW).read_text())
    assert content.pop("seconds_per_epoch") >= 0
    accuracies = [metrics["val_accuracy"] for metrics in module.history]
    assert content.pop("where") == place_of(torch.device("cpu"))
    assert content == {"stage": "teacher", "epoch": 2, "epochs": 2, "val_accuracies": accuracies, "ended": True}


@pytest.mark.parametrize(("target", "epochs", "has_ended"), [(0.0, 1, True), (2.0, 3, True), (2.0, 2, False)])
def test_watchers_see_that_a_stage_has_ended_also_before_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: float, epochs: int, has_ended: bool
) -> None:
    written: dict[int, bool] = {}
    write_progress = SaveResumeState.write_progress

    def noted(self: SaveResumeState, trainer: Trainer, module: Classifier, epoch: int) -> None:
        write_progress(self, trainer, module, epoch)
        written[epoch] = json.loads((tmp_path / "run" / NOW).read_text())["ended"]

    monkeypatch.setattr(SaveResumeState, "write_progress", noted)
    stage = classifier(epochs=3, stopping=Stopping("val_accuracy", 9, target=target))
    fitted(stage, tmp_path / "run", resume_state=ResumeState(tmp_path / "state", "digest"))
    assert written[epochs] == has_ended
    assert not written[0]


def test_the_state_holds_the_seconds_before_an_interruption(tmp_path: Path) -> None:
    state = ResumeState(tmp_path / "state", "digest")
    fitted(classifier(epochs=1), tmp_path, resume_state=state)
    saved = state.load()
    assert saved is not None
    assert set(saved) == {"epochs", "module", "optimizer", "scaler", "best", "metrics", "history", "seconds"}
    assert 0 < saved["seconds"] < 60
    assert SaveResumeState(state, 1.0).started == 1.0


def test_a_log_has_about_ten_lines_a_stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kd_runner"):
        module = fitted(classifier(epochs=25), tmp_path)
    lines = [record.getMessage() for record in caplog.records if " epoch " in record.getMessage()]
    assert [line.split("/")[0].split()[-1] for line in lines] == ["1", *map(str, range(2, 25, 2)), "25"]
    loss, accuracy = module.metrics["train_loss"], module.metrics["val_accuracy"]
    assert lines[-1] == f"teacher   epoch 25/25  train loss {loss:.4f}  val accuracy {accuracy:.4f}"


def test_a_log_says_how_long_a_long_stage_still_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is 50 seconds after the one before; a stage that goes on counts its own epochs alone."""
    ticks = itertools.count(0, 50)
    monkeypatch.setattr("kd_runner.training.callbacks.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    with caplog.at_level(logging.INFO, "kd_runner"):
        fitted(classifier(epochs=4), tmp_path)
    lines = [record.getMessage() for record in caplog.records if " epoch " in record.getMessage()]
    ends = [line.partition(" val accuracy ")[2][6:] for line in lines]
    assert ends == ["  about 2:30 left", "  about 1:40 left", "", ""]
    gone_on = EpochLines()
    gone_on.started, gone_on.first_epoch = float(next(ticks)), 30
    assert gone_on.time_left(31, 33) == "  about 1:40 left"


def test_a_terminal_gets_one_line_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with caplog.at_level(logging.INFO, "kd_runner"):
        module = fitted(classifier(epochs=2), tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if "epochs" in record.getMessage()]
    assert line.startswith(f"teacher   2 epochs  train loss {module.metrics['train_loss']:.4f}  val accuracy ")


@pytest.mark.parametrize(
    ("device", "visible", "place"),
    [("cpu", "", "CPU"), ("cuda:1", "4,6", "GPU 6"), ("cuda:0", "", "GPU 0"), ("cuda", "GPU-8f", "GPU GPU-8f")],
)
def test_where_a_run_trains_is_said(device: str, visible: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("platform.node", lambda: "node3")
    assert place_of(torch.device(device)) == f"node3, {place}"
