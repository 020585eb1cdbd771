"""The device that a run computes on."""

from __future__ import annotations

import torch

from kd_runner.config.sections import TrainerSettings


def device_of(settings: TrainerSettings) -> torch.device:
    """The current GPU, or the CPU where the settings say so or there is no GPU."""
    if settings.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())
