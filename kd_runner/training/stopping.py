"""Early stopping: when a stage ends before its last epoch, and which epoch's weights it keeps.

Both follow from the metrics of the epochs so far and from nothing else, so that a resumed training decides as the
uninterrupted one would have done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kd_runner.config.field_types import HIGHER_IS_BETTER
from kd_runner.config.sections import EarlyStoppingSettings


@dataclass(frozen=True)
class Stopping:
    """A rule by which a stage stops early.

    Args:
        metric: The name of a metric of the validation images, such as 'val_accuracy'.
        patience: The number of epochs without improvement after which the stage stops, 1 or more.
        min_delta: An epoch improves where it is better than the last improvement by more than this, 0 or more.
        target: A value that ends the stage once the metric is as good or better; None for none.
    """

    metric: str
    patience: int
    min_delta: float = 0.0
    target: float | None = None

    @classmethod
    def of(cls, settings: EarlyStoppingSettings) -> Stopping | None:
        """The rule of a stage's settings; None where they name no metric."""
        if settings.metric is None:
            return None
        return cls(settings.metric, settings.patience, settings.min_delta, settings.target)

    def values(self, epochs: Sequence[Mapping[str, float]]) -> list[float]:
        """The metric in each epoch, with the sign at which more is better; empty where the stage has no such metric."""
        sign = 1 if self.metric in HIGHER_IS_BETTER else -1
        return [sign * epoch[self.metric] for epoch in epochs if self.metric in epoch]

    def best_epoch(self, epochs: Sequence[Mapping[str, float]]) -> int | None:
        """The number of the best epoch, from 0, the first of equals; None where there is none."""
        values = self.values(epochs)
        return values.index(max(values)) if values else None

    def reason(self, epochs: Sequence[Mapping[str, float]]) -> str | None:
        """The reason, in words, why the stage stops after these epochs; None where it goes on."""
        values = self.values(epochs)
        if not values:
            return None
        sign = 1 if self.metric in HIGHER_IS_BETTER else -1
        if self.target is not None and values[-1] >= sign * self.target:
            return f"{self.metric} reached {self.target:g}"
        improved = 0
        for number, value in enumerate(values):
            if value > values[improved] + self.min_delta:
                improved = number
        if len(values) - 1 - improved < self.patience:
            return None
        return f"{self.metric} was no better for {self.patience} epoch{'s' if self.patience > 1 else ''}"
