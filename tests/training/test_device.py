"""The device of a run."""

from __future__ import annotations

import pytest
import torch
from small_training import trainer_settings

from kd_runner.training.device import device_of


def test_the_current_gpu_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert device_of(trainer_settings("cuda")) == torch.device("cuda", 3)
    assert device_of(trainer_settings("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(trainer_settings("cuda")) == torch.device("cpu")
