"""The state of a run, for its result, whether the run is completed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from kd_runner.clock import run_seconds
from kd_runner.files.stages import TIMED
from kd_runner.networks.injection import Injected
from kd_runner.runs.judgement import Judgement


@dataclass
class RunState:
    """The stages of a run so far.

    Args:
        stage: The stage that the run is at.
        seconds: The seconds that each stage took, with those before an interruption.
        epochs: The metrics of each epoch, by the stages that were trained or found in the store.
        teacher_outputs: Where the teacher's outputs for training images came from.
        injected: What the student has of its teacher's weights at its start; None where it begins without them.
        made_images: What the images were made by that the student was taught on; None for training images.
        unpruned: The networks of baseline and student with all channels that they train with.
        seconds_of_links: The seconds that each network between teacher and student took, which are the student's, too.
        judgements: The judgements of the teachers, by their names, and of the baseline.
    """

    stage: str | None = None
    seconds: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(TIMED))
    epochs: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    seconds_of_links: dict[str, float] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)
    teacher_outputs: dict[str, Any] | None = None
    injected: Injected | None = None
    made_images: dict[str, Any] | None = None
    unpruned: dict[str, nn.Module] = field(default_factory=dict)
    _seconds_before: float = 0.0

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The block is this stage of the run."""
        self.stage, self._seconds_before, started = stage, 0.0, run_seconds()
        yield
        self.seconds[stage] = round(self._seconds_before + run_seconds() - started, 3)

    @property
    def epochs_trained(self) -> dict[str, int]:
        """The number of epochs that each stage was trained for."""
        return {stage: len(epochs) for stage, epochs in self.epochs.items()}

    def add(self, stage: str, epochs: list[dict[str, float]], seconds_before: float) -> None:
        """Add a training: the metrics of its epochs, and the seconds that it took before an interruption."""
        self.epochs[stage] = epochs
        self._seconds_before += seconds_before
