"""The epoch at which a stage stops early, and the epoch whose weights it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping
from small_training import classifier, fitted

from kd_runner.config.sections import EarlyStoppingSettings
from kd_runner.files.scores import kept_epoch, kept_metrics
from kd_runner.training.best import copy_of_weights
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.stopping import Stopping

ACCURACIES = [0.5, 0.6, 0.6, 0.61, 0.58, 0.605, 0.6, 0.9]


def epochs_of(values: list[float], metric: str = "val_accuracy") -> list[dict[str, float]]:
    return [{metric: value} for value in values]


def stop_of(stopping: Stopping, values: list[float]) -> int | None:
    """The number of the epoch, from 1, after which a stage with these values stops; None for never."""
    epochs = epochs_of(values, stopping.metric)
    return next((count for count in range(1, len(values) + 1) if stopping.reason(epochs[:count])), None)


@pytest.mark.parametrize(
    ("patience", "min_delta", "stop"), [(1, 0.0, 3), (2, 0.0, 6), (3, 0.0, 7), (4, 0.0, None), (2, 0.02, 4)]
)
def test_a_stage_stops_after_so_many_epochs_without_improvement(
    patience: int, min_delta: float, stop: int | None
) -> None:
    assert stop_of(Stopping("val_accuracy", patience, min_delta), ACCURACIES) == stop
    # A metric of which less is better stops at the same epoch where its values fall as the others rise.
    assert stop_of(Stopping("val_loss", patience, min_delta), [1 - value for value in ACCURACIES]) == stop
    # So does Lightning's own.
    theirs = EarlyStopping("metric", min_delta, patience, mode="max")
    decisions = [theirs._evaluate_stopping_criteria(torch.tensor(value))[0] for value in ACCURACIES]
    assert (decisions.index(True) + 1 if True in decisions else None) == stop


def test_a_stage_stops_at_its_target() -> None:
    assert stop_of(Stopping("val_agreement", 9, target=0.61), ACCURACIES) == 4
    assert stop_of(Stopping("val_kl_to_teacher", 9, target=0.3), [0.5, 0.31, 0.3, 0.1]) == 3
    assert stop_of(Stopping("val_loss", 9, target=0.05), [0.5, 0.31]) is None


def test_the_best_epoch_is_the_first_of_equals_whatever_min_delta() -> None:
    stopping = Stopping("val_accuracy", 2, min_delta=0.5)
    assert stopping.best_epoch(epochs_of([0.5, 0.6, 0.7, 0.7])) == 2
    assert stopping.best_epoch(epochs_of([0.5], "val_loss")) is None
    assert stopping.reason(epochs_of([0.5], "val_loss")) is None
    assert Stopping.of(EarlyStoppingSettings()) is None


def test_the_network_has_the_weights_of_the_kept_epoch(tmp_path: Path) -> None:
    """A learning rate so large that the loss rises again."""
    seen = []
    module = classifier(epochs=9, rate=3.0, stopping=Stopping("val_loss", 2))
    end = module.on_validation_epoch_end

    def end_and_keep() -> None:
        end()
        seen.append(copy_of_weights(module.network))

    module.on_validation_epoch_end = end_and_keep  # type: ignore[method-assign]
    fitted(module, tmp_path)
    losses = [epoch["val_loss"] for epoch in module.history]
    best = losses.index(min(losses))
    assert len(losses) == min(9, best + 3)
    assert len(losses) < 9
    assert kept_epoch(module.history) == best + 1
    assert kept_metrics(module.history)["val_loss"] == min(losses)
    assert all(torch.equal(value, seen[best][name]) for name, value in copy_of_weights(module.network).items())


def test_a_stage_that_has_stopped_is_not_trained_on_by_a_resume(tmp_path: Path) -> None:
    state = ResumeState(tmp_path / "state", "digest")
    options = {"epochs": 9, "rate": 3.0, "stopping": Stopping("val_loss", 2)}
    first = fitted(classifier(**options), tmp_path, resume_state=state)
    again = fitted(classifier(**options), tmp_path, resume_state=state)
    assert len(again.history) == len(first.history) < 9
    weights = first.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.network.state_dict().items())
