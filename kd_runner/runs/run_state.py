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
from kd_runner.runs.judging.judgement import Judgement
from kd_runner.runs.resume.spent_seconds import SpentSeconds


@dataclass
class RunState:
    """The stages of a run so far.

    Args:
        spent: The seconds of what has ended, those before an interruption among them.
        stage: The stage that the run is at.
        seconds: The seconds that each stage took, with those before an interruption.
        epochs: The metrics of each epoch, by the stages that were trained or found in the store.
        teacher_outputs: The source of the teacher's outputs for training images.
        injected: The part of its teacher's weights that the student has at its start; None where it has none of them.
        made_images: The record of how the images were made that the student was taught on; None for training images.
        unpruned: The networks of baseline and student with all channels that they train with.
        seconds_of_links: The seconds that each network between teacher and student took, which are the student's, too.
        judgements: The judgements of the teachers, by their names, and of the baseline.
    """

    spent: SpentSeconds = field(default_factory=SpentSeconds)
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
        """The block is this stage of the run; one that had ended before an interruption keeps the seconds it took."""
        self.stage, self._seconds_before, started = stage, 0.0, run_seconds()
        yield
        seconds = max(self.spent.of_stage(stage), self._seconds_before + run_seconds() - started)
        self.seconds[stage] = round(seconds, 3)
        self.spent.keep_stage(stage, seconds)

    @property
    def epochs_trained(self) -> dict[str, int]:
        """The number of epochs that each stage was trained for."""
        return {stage: len(epochs) for stage, epochs in self.epochs.items()}

    def add(self, stage: str, epochs: list[dict[str, float]], seconds_before: float) -> None:
        """Add a training: the metrics of its epochs, and the seconds that it took before an interruption."""
        self.epochs[stage] = epochs
        self._seconds_before += seconds_before

    def add_network(self, name: str, epochs: list[dict[str, float]], seconds_before: float, started: float) -> float:
        """Add a network that has its final weights; returns the seconds that the run has spent on it.

        Args:
            seconds_before: The seconds of its training before an interruption that cut it off.
            started: The time at which this run turned to it, on the clock of `run_seconds`.
        """
        seconds_before = seconds_before or self.spent.of_network(name)  # from the store, where it was finished
        self.add(name, epochs, seconds_before)
        seconds = seconds_before + run_seconds() - started
        self.spent.keep_network(name, seconds)
        return seconds
