"""Learning-rate schedules: callables from the share of the stage that is done, 0 to 1, to a factor of `optimizer.lr`.

They know no epochs, so one schedule serves a teacher of 200 epochs and a student of 50, and nothing needs
saving to resume. Any callable of that form works as a `scheduler` option.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def check_share(name: str, value: float) -> None:
    """Raises ValueError unless 0 <= `value` <= 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share of the stage between 0 and 1, got {value:g}")


@dataclass(frozen=True)
class Constant:
    """The learning rate as it is."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave down to `floor`, after a linear warm-up over the share `warmup` (SGDR, arXiv:1608.03983)."""

    warmup: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        check_share("warmup", self.warmup)
        check_share("floor", self.floor)

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        rest = (progress - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 1.0
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * rest))


@dataclass(frozen=True)
class Steps:
    """Multiplied by `factor` at each of `milestones`, shares of the stage: epoch 150 of 240 is 0.625."""

    milestones: Sequence[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        for milestone in self.milestones:
            check_share("milestones", milestone)
        if self.factor <= 0:
            raise ValueError(f"factor must be above 0, got {self.factor:g}")

    def __call__(self, progress: float) -> float:
        return self.factor ** sum(progress >= milestone for milestone in self.milestones)
