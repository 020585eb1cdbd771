"""Fitting: resuming to the same bits, nothing left to do, and ends that are not completions."""

from __future__ import annotations

import logging
import signal
import warnings
from pathlib import Path

import pytest
import torch
from small_training import classifier, fitted

from kd_runner.errors import RunFailed
from kd_runner.training.fit import _as_our_errors, quiet_lightning
from kd_runner.training.resume_state import ResumeState


class Interrupted(Exception):
    pass


def test_a_training_that_goes_on_comes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(classifier(epochs=3), tmp_path / "whole")
    state = ResumeState(tmp_path / "state", "digest")
    save = ResumeState.save

    def save_and_stop(self: ResumeState, content: dict, epoch: int, epochs: int) -> None:
        save(self, content, epoch, epochs)
        if epoch == 2:
            raise Interrupted

    monkeypatch.setattr(ResumeState, "save", save_and_stop)
    with pytest.raises(Interrupted):
        fitted(classifier(epochs=3), tmp_path / "parts", resume_state=state)
    monkeypatch.undo()
    resumed = fitted(classifier(epochs=3), tmp_path / "parts", resume_state=state)
    for first, second in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(first, second)
    losses = [[metrics["train_loss"] for metrics in module.history] for module in (whole, resumed)]
    assert losses[0] == losses[1]
    assert state.epoch() == "epoch 3 of 3"


def test_a_stage_that_is_complete_is_not_trained_again(tmp_path: Path) -> None:
    state = ResumeState(tmp_path / "state", "digest")
    first = fitted(classifier(epochs=1), tmp_path, resume_state=state)
    second = fitted(classifier(epochs=1), tmp_path, resume_state=state)
    assert second.epochs_left == 0
    assert second.metrics == first.metrics
    assert second.seconds_before > 0
    assert second.best is not None
    assert first.best is not None
    assert second.best.accuracy == first.best.accuracy


class Ended:
    """A trainer that was told to end by SIGTERM, or not."""

    def __init__(self, received_sigterm: bool) -> None:
        self.received_sigterm = received_sigterm


def test_signals_are_what_they_were_before_lightning() -> None:
    module = classifier()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), _as_our_errors(Ended(False), module):  # type: ignore[arg-type]
            raise SystemExit(1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(SystemExit) as ended, _as_our_errors(Ended(True), module):  # type: ignore[arg-type]
            raise SystemExit(0)
        assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_gpu_without_memory_is_one_line_with_a_remedy() -> None:
    message = r"^teacher: the GPU has not enough memory for batches of 8 images; lower batch_size, or set trainer\.prec"
    with pytest.raises(RunFailed, match=message), _as_our_errors(Ended(False), classifier()):  # type: ignore[arg-type]
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_lightnings_own_advice_is_not_shown() -> None:
    with warnings.catch_warnings():
        quiet_lightning()
        assert logging.getLogger("pytorch_lightning").level == logging.ERROR
