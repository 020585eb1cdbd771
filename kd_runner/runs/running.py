"""A run's folder, log and stages while it runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kd_runner.files.run_folder import UNFINISHED
from kd_runner.runs.judgement import Judgement
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.resume_state import ResumeState


@dataclass
class RunState:
    """A run's folder and log, and what it has come to.

    Args:
        tempered: The keys of the modes whose loss depends on the temperature.
        stage: What it is at.
        seconds: That each stage took, those before an interruption included.
        earlier: Those before an interruption, of the stage that it is at.
        epochs: The metrics of each epoch of the stages that were trained here.
        judgements: What the teachers, by their names, and the baseline say of the validation images.
    """

    folder: Path
    logger: RunLogger
    fingerprint: str
    tempered: Collection[str] = ()
    stage: str | None = None
    earlier: float = 0.0
    seconds: dict[str, float | None] = field(
        default_factory=lambda: dict.fromkeys(("teacher", "baseline", "student", "evaluate"))
    )
    epochs: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The block is this stage of the run."""
        self.stage, self.earlier, started = stage, 0.0, time.perf_counter()
        yield
        self.seconds[stage] = round(self.earlier + time.perf_counter() - started, 3)

    def progress(self, stage: str) -> ResumeState:
        """Where the training of a stage is kept."""
        return ResumeState(self.folder / UNFINISHED / stage, self.fingerprint)
