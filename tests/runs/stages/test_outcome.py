"""Training one stage, from the beginning or from where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kd_runner.config.settings import Settings
from kd_runner.networks.observed import Observed
from kd_runner.runs.assembly import assemble
from kd_runner.runs.stages.outcome import Outcome, fit_to_best
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.resume_state import ResumeState


def test_a_training_that_has_ended_is_taken_up_with_its_seconds(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    checked = settings("teacher=mlp", "teacher.hidden=[4]", "teacher.epochs=2")

    def fit() -> Outcome:
        parts = assemble(checked)
        recipe = parts.recipes["teacher"]
        module = Classifier("teacher", Observed(parts.teacher), parts.data.training_batches("teacher", recipe), recipe)
        state = ResumeState(tmp_path / "state", "1234")
        return fit_to_best(module, parts.data, checked.trainer, RunLogger(tmp_path / "run"), state)

    first, again = fit(), fit()
    assert [epoch["val_accuracy"] for epoch in first.epochs] == [epoch["val_accuracy"] for epoch in again.epochs]
    assert len(first.epochs) == 2
    assert first.best.accuracy == max(epoch["val_accuracy"] for epoch in first.epochs)
    assert (again.best.epoch, again.best.accuracy) == (first.best.epoch, first.best.accuracy)
    assert first.seconds_before == 0
    assert again.seconds_before > 0
