"""Whether a mode of distillation depends on the temperature, measured on a few images of noise."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from kd_runner.outputs import Outputs
from kd_runner.randomness import seeded_generator
from kd_runner.training.mode import Mode

TEMPERATURES = (1.0, 3.0)
MOMENTS = (0.0, 1.0)  # shares of the stage that are done


def depends_on_temperature(mode: Mode, student: Outputs, teacher: Outputs, labels: Tensor) -> bool:
    """Whether the mode's loss of this batch is another one at another temperature, to the last bit.

    Every call starts from the same state and the same random numbers. A loss that cannot be asked so counts as one
    that depends on the temperature.
    """

    def loss(temperature: float, progress: float) -> Tensor:
        of_student, of_teacher = (replace(outputs, progress=progress) for outputs in (student, teacher))
        with seeded_generator("temperature probe"):
            return replace(mode, loss=copy.deepcopy(mode.loss))(of_student, of_teacher, labels, temperature).detach()

    try:
        return any(not torch.equal(*(loss(t, moment) for t in TEMPERATURES)) for moment in MOMENTS)
    except Exception:  # anyone's loss
        return True
