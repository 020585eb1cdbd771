"""A trial of a mode on a few images of noise, which shows if its loss depends on the temperature."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from kd_runner.outputs import Outputs
from kd_runner.randomness import seeded_generator
from kd_runner.training.mode import Mode

TEMPERATURES = (1.0, 3.0)
MOMENTS = (0.0, 1.0)  # shares of the stage that are done when the loss is computed


def depends_on_temperature(mode: Mode, student: Outputs, teacher: Outputs, labels: Tensor) -> bool:
    """True where the mode's loss of this batch changes with the temperature, be it in the last bit.

    Every call starts from the same state and the same random numbers. A loss that fails here counts as one that
    depends on the temperature.
    """

    def loss(temperature: float, progress: float) -> Tensor:
        fresh_mode = replace(mode, loss=copy.deepcopy(mode.loss))
        outputs = (replace(student, progress=progress), replace(teacher, progress=progress))
        with seeded_generator("temperature probe"):
            return fresh_mode(*outputs, labels, temperature).detach()

    try:
        return any(not torch.equal(*(loss(t, moment) for t in TEMPERATURES)) for moment in MOMENTS)
    except Exception:  # anyone's loss
        return True
