"""Schedules of the softmax temperature: callables from the share of the stage done, 0 to 1, to a temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_runner.temperature_range import check_temperature


@dataclass(frozen=True)
class Constant:
    """The temperature `value` during the whole stage, 0.001 to 1000."""

    value: float

    def __post_init__(self) -> None:
        check_temperature("value", self.value)

    def __call__(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` to `end`, both 0.001 to 1000."""

    start: float
    end: float

    def __post_init__(self) -> None:
        check_temperature("start", self.start)
        check_temperature("end", self.end)

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `start` to `end`, both 0.001 to 1000: slow, fast, slow."""

    start: float
    end: float

    def __post_init__(self) -> None:
        check_temperature("start", self.start)
        check_temperature("end", self.end)

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


class Learned(nn.Module):
    """A temperature that is learned against the student: it moves so that the distillation loss grows.

    Curriculum temperature (Li et al. 2022, "Curriculum Temperature for Knowledge Distillation", arXiv:2211.16231,
    equations 4 to 8): lowest + span · sigmoid(θ), with the gradient of θ reversed, by a strength that grows from 0
    to 1 along half a cosine wave.

    Args:
        lowest, span: Bounds of the temperature, which lies between lowest and lowest + span, all 0.001 to 1000.
        theta: First value of θ; 1, as in the authors' code, is a temperature of 15.6.
        ramp: Share of the stage after which the reversed gradient has its full strength, 0 to 1: 10 of 240 epochs.

    Raises:
        ValueError: a range that leaves 0.001 to 1000, or a ramp outside 0 to 1.
    """

    def __init__(self, lowest: float = 1.0, span: float = 20.0, theta: float = 1.0, ramp: float = 0.04) -> None:
        super().__init__()
        check_temperature("lowest", lowest)
        check_temperature("span", span)
        check_temperature("lowest + span", lowest + span)
        if not 0 <= ramp <= 1:
            raise ValueError(f"ramp must be a share of the stage between 0 and 1, got {ramp:g}")
        self.lowest, self.span, self.ramp = lowest, span, ramp
        self.theta = nn.Parameter(torch.tensor(float(theta)))

    def forward(self, progress: float) -> Tensor:
        """The temperature, a scalar whose gradient is reversed.

        Args:
            progress: Share of the stage that is done, 0 to 1.
        """
        ramp_done = min(1.0, progress / self.ramp) if self.ramp else 1.0
        strength = 0.5 * (1 - math.cos(math.pi * ramp_done))
        temperature = self.lowest + self.span * torch.sigmoid(self.theta)
        # The value of the temperature, with −strength times its gradient.
        return temperature.detach() - strength * (temperature - temperature.detach())
