"""Schedules of the softmax temperature: callables from the share of the stage done, 0 to 1, to a temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Above this the soft targets are uniform to float32 precision and the loss is rounding noise times its square.
HIGHEST = 1000.0


def check_temperature(name: str, value: float) -> None:
    """Raises ValueError unless 0 < `value` <= 1000."""
    if not 0 < value <= HIGHEST:
        raise ValueError(f"{name} must be above 0 and at most {HIGHEST:g}, got {value:g}")


@dataclass(frozen=True)
class Constant:
    """The same temperature throughout."""

    value: float

    def __post_init__(self) -> None:
        check_temperature("value", self.value)

    def __call__(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` to `end`."""

    start: float
    end: float

    def __post_init__(self) -> None:
        check_temperature("start", self.start)
        check_temperature("end", self.end)

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `start` to `end`: slow, fast, slow."""

    start: float
    end: float

    def __post_init__(self) -> None:
        check_temperature("start", self.start)
        check_temperature("end", self.end)

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * progress))
