"""How a stage trains: optimizer, schedule, epochs, seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from kd_runner.config.settings import Precision

Schedule = Callable[[float], float]


@dataclass(frozen=True)
class Recipe:
    """How a stage trains.

    Args:
        optimizer: A callable of parameters or groups of them.
        schedule: Of the learning rate.
        precision: Of the networks; losses are computed in float32.
        compile: Run the networks through torch.compile.
        log_every: Steps after which the mean loss since the last time is logged, at the end of a chunk; 0 for never.
        label_smoothing: Of stages on labels alone.
    """

    optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer]
    schedule: Schedule
    epochs: int
    seed: int
    precision: Precision = "32"
    compile: bool = False
    log_every: int = 0
    label_smoothing: float = 0.0
