"""Training one stage from where an interrupted run left it, and what the training came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kd_runner.config.sections import TrainerSettings
from kd_runner.config.settings import Settings
from kd_runner.errors import LossNotFinite
from kd_runner.files.scores import kept_epoch
from kd_runner.runs.data import Data
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.best import Best
from kd_runner.training.classifier import Classifier
from kd_runner.training.fit import fit
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState


@dataclass(frozen=True)
class Outcome:
    """The outcome of training a stage.

    Args:
        epochs: The metrics of each epoch.
        seconds_before: The seconds that were spent before an interruption.
        best: The best epoch on the validation split, with its weights.
        average: The average of the weights over the steps, where there is one.
    """

    epochs: list[dict[str, float]]
    seconds_before: float
    best: Best
    average: dict[str, Tensor] | None = None


@contextmanager
def rate_in_error(settings: Settings, role: str) -> Iterator[None]:
    """Name the learning rate of a stage in the error about its loss in this block, where it is not finite.

    Args:
        role: The section of the settings that the stage trains with.
    """
    try:
        yield
    except LossNotFinite as error:
        key, rate = settings.rate_key(role), settings.rate(role)
        advice = f"lower {key}" if rate is None else f"lower {key}, now {rate:g}"
        raise LossNotFinite(f"{error}; {advice}") from error


def stopping_record(recipe: Recipe, epochs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The record of early stopping in a stage, for the result.

    Args:
        recipe: The stage's recipe, with a rule of stopping.
        epochs: The metrics of each epoch that was trained.
    """
    assert recipe.stopping is not None
    return {
        "metric": recipe.stopping.metric,
        "epochs": len(epochs),
        "planned": recipe.epochs,
        "kept": kept_epoch(epochs),
    }


def fit_to_best(
    module: Classifier, data: Data, trainer: TrainerSettings, logger: RunLogger, resume_state: ResumeState
) -> Outcome:
    """Fit `module` for all epochs of its recipe, and return them and the best of them."""
    fit(module, data.shared_validation(), trainer, logger, resume_state)
    assert module.best is not None
    return Outcome(module.history, module.seconds_before, module.best, module.averaged_weights())
