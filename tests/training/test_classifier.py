"""A stage on labels: what it measures, resumes and logs, and how it ends where the loss is no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_training import classifier, data, distiller, fitted, network, view
from torch import nn

from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.training.classifier import Classifier
from kd_runner.training.recipe import Recipe


def test_a_network_built_in_evaluation_mode_is_trained_in_training_mode(tmp_path: Path) -> None:
    student = network(1).eval()
    fitted(distiller(student, network(2)), tmp_path)
    seen = [module.num_batches_tracked for module in student.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [int(count) for count in seen if count is not None] == [10, 10]


def test_sums_are_those_of_the_whole_epoch(tmp_path: Path) -> None:
    module = Classifier(
        "teacher", Observed(network(1, batch_norm=False)), TrainingBatches(data(), view(), 7, seed=0, chunk=2),
        Recipe(lambda parameters: torch.optim.SGD(parameters, lr=0.0), ConstantRate(), 1, 0),
    )  # fmt: skip
    fitted(module, tmp_path)
    batch = next(iter(PlainBatches(data(), view(), 40)))
    with torch.no_grad():
        logits = module.network(batch.images)
    wanted = F.cross_entropy(logits, batch.labels).item()
    assert module.metrics["train_loss"] == pytest.approx(wanted, rel=1e-5)
    assert module.metrics["val_loss"] == pytest.approx(wanted, rel=1e-5)
    assert module.metrics["train_accuracy"] == (logits.argmax(1) == batch.labels).double().mean().item()


def test_the_first_step_without_a_number_is_named(tmp_path: Path) -> None:
    module = classifier(rate=1e30)
    with pytest.raises(
        RunFailed, match=r"^teacher: the loss is not finite in epoch 1, step [2-5] of 5: loss (nan|inf)$"
    ):
        fitted(module, tmp_path)


def test_weights_that_validation_cannot_use_are_named(tmp_path: Path) -> None:
    module = classifier(epochs=1)
    module.validation_metrics = lambda *_: {"kl_to_teacher": torch.tensor(float("nan"))}  # type: ignore[method-assign]
    message = r"^teacher: the loss is not finite in epoch 1, on the validation images: val_loss \d\S*, val_kl_to_tea"
    with pytest.raises(RunFailed, match=message):
        fitted(module, tmp_path)


def test_each_epoch_is_logged_and_the_best_one_remembered(tmp_path: Path) -> None:
    module = fitted(classifier(epochs=3), tmp_path)
    assert len(module.history) == 3
    assert set(module.history[0]) == {
        "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "images_per_second",
    }  # fmt: skip
    accuracies = [metrics["val_accuracy"] for metrics in module.history]
    assert module.best is not None
    assert module.best.accuracy == max(accuracies)
    assert module.best.epoch == accuracies.index(max(accuracies)) + 1
    assert module.history[0]["learning_rate"] == 0.1
