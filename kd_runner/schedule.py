"""Learning-rate schedules: callables from the share of the stage that is done, 0 to 1, to a factor of `optimizer.lr`.

They know no epochs, so one schedule serves a teacher of 200 epochs and a student of 50, and nothing needs
saving to resume. Any callable of that form works as a `scheduler` option.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def check_share(name: str, value: float) -> None:
    """Check that the setting `name` is a share of the stage.

    Raises:
        ValueError: `value` is not between 0 and 1.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share of the stage between 0 and 1, got {value:g}")


@dataclass(frozen=True)
class Constant:
    """The factor 1: the learning rate stays as it is."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from 1 down to `floor`, after a linear warm-up (SGDR, arXiv:1608.03983, without restarts).

    Args:
        warmup: Share of the stage over which the factor grows from 0 to 1, 0 to 1.
        floor: Factor at the end of the stage, 0 to 1.

    Raises:
        ValueError: a setting outside its range.
    """

    warmup: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        check_share("warmup", self.warmup)
        check_share("floor", self.floor)

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        descent = (progress - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 1.0
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * descent))


@dataclass(frozen=True)
class Steps:
    """1, multiplied by `factor` at each milestone.

    Args:
        milestones: Shares of the stage, 0 to 1: epoch 150 of 240 is 0.625.
        factor: Factor above 0.

    Raises:
        ValueError: a setting outside its range.
    """

    milestones: Sequence[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        for milestone in self.milestones:
            check_share("milestones", milestone)
        if self.factor <= 0:
            raise ValueError(f"factor must be above 0, got {self.factor:g}")

    def __call__(self, progress: float) -> float:
        return self.factor ** sum(progress >= milestone for milestone in self.milestones)
