"""The record of versions, device and commit."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
import torch

from kd_runner import environment as module
from kd_runner.environment import environment


def test_the_versions_and_the_device_are_those_of_this_process() -> None:
    record = environment(torch.device("cpu"))
    assert set(record) == {"python", "torch", "device", "processor", "threads", "kd_runner", "git"}
    assert (record["python"], record["torch"], record["device"]) == (
        platform.python_version(),
        torch.__version__,
        "cpu",
    )


@pytest.mark.parametrize(("top", "known"), [(str(Path(module.__file__).parents[1]), True), ("/elsewhere", False)])
def test_the_commit_is_that_of_a_checkout_alone(top: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout=f"{top}\nabc123\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    module._commit.cache_clear()
    assert module._commit() == ("abc123" if known else None)
    module._commit.cache_clear()


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    module._commit.cache_clear()
    assert module._commit() is None
    module._commit.cache_clear()
