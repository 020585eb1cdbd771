"""The recipe of a stage: optimizer, schedule, epochs, seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from kd_runner.config.field_types import Precision
from kd_runner.input_pipeline.budget_in_steps import StepBudget
from kd_runner.training.attack import Attack
from kd_runner.training.pruning import Pruning
from kd_runner.training.stopping import Stopping
from kd_runner.training.switches import NO_SWITCHES, Switches

Schedule = Callable[[float], float]


@dataclass(frozen=True)
class Recipe:
    """The recipe of a stage's training.

    Args:
        optimizer: A callable of parameters or groups of them.
        schedule: Factor on the learning rate, a function of the share of the stage that is done.
        epochs: Passes over the training images; with `steps`, the equal parts into which these are divided.
        seed: Seed of dropout and of whatever else draws from PyTorch's generator.
        precision: Precision of the networks; losses are computed in float32.
        compile: True to run the networks through torch.compile.
        log_every: Steps after which the mean loss since the last time is logged, at the end of a chunk; 0 for never.
        label_smoothing: Smoothing of the labels in the label loss, in [0, 1).
        order_seed: Seed of the order and the augmentation of the images; None: `seed`.
        graph: True to take steps as CUDA graphs where that works.
        stopping: The rule by which the stage stops early; None to train for all epochs.
        pruning: The weights that are set to zero while the network trains; None for none.
        attack: The attack on the images before the network learns from them; None for no attack.
        switches: The other changes of the training that are switched on.
        steps: The number of steps of the stage; None where an epoch is a pass over the images.
    """

    optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer]
    schedule: Schedule
    epochs: int
    seed: int
    precision: Precision = "32"
    compile: bool = False
    log_every: int = 0
    label_smoothing: float = 0.0
    order_seed: int | None = None
    graph: bool = False
    stopping: Stopping | None = None
    pruning: Pruning | None = None
    attack: Attack | None = None
    switches: Switches = NO_SWITCHES
    steps: int | None = None

    @property
    def budget(self) -> StepBudget | None:
        """The steps of the stage and its epochs as parts of them; None where an epoch is a pass over the images."""
        return None if self.steps is None else StepBudget(self.steps, self.epochs)

    @property
    def batches_seed(self) -> int:
        """The seed of the order and the augmentation of the images."""
        return self.seed if self.order_seed is None else self.order_seed
