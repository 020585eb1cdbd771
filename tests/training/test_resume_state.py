"""The state of a training on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from kd_runner.training.resume_state import ResumeState


def test_the_last_state_is_loaded_and_can_be_deleted(tmp_path: Path) -> None:
    state = ResumeState(tmp_path / "a" / "teacher", "digest")
    assert state.load() is None
    assert state.epoch() == ""
    for epoch in (1, 2):
        state.save({"epochs": epoch, "module": {"weight": torch.tensor([epoch / 4])}}, epoch, 20)
    loaded = ResumeState(tmp_path / "a" / "teacher", "digest").load()
    assert loaded is not None
    assert loaded["epochs"] == 2
    assert torch.equal(loaded["module"]["weight"], torch.tensor([0.5]))
    assert state.epoch() == "epoch 2 of 20"
    state.discard()
    assert not (tmp_path / "a" / "teacher").exists()
    state.discard()


def test_short_trainings_do_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    state = ResumeState(tmp_path, "digest")
    state.save({"epochs": 1, "seconds": 9.9}, 1, 2)
    assert not flushed
    state.save({"epochs": 2, "seconds": 10.0}, 2, 2)
    assert len(flushed) == 2  # the file and its folder
    loaded = state.load()
    assert loaded is not None
    assert loaded["epochs"] == 2


def test_the_state_of_another_training_is_not_used(tmp_path: Path) -> None:
    ResumeState(tmp_path, "digest").save({"epochs": 1}, 1, 2)
    assert ResumeState(tmp_path, "another").load() is None


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04"])
def test_a_broken_state_starts_the_stage_over(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    (tmp_path / "epoch.json").write_text("{")
    state = ResumeState(tmp_path, "digest")
    with caplog.at_level("INFO"):
        assert state.load() is None
    assert "cannot be read" in caplog.text
    assert state.epoch() == ""


@pytest.mark.parametrize("content", [[1, 2], "text", {}, {"state": [1]}, {"state": {}}, torch.zeros(2)])
def test_something_else_in_its_place_starts_the_stage_over(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "state.pt")
    assert ResumeState(tmp_path, "digest").load() is None
