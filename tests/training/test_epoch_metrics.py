"""Means over an epoch's images, and the first step whose loss is no number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_runner.training.epoch_metrics import EpochMetrics, StepRecord

LOGITS = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])  # classes 0, 1, 0


def record(count: int, labels: list[int], partners: list[int] | None = None, share: float = 1.0, **losses: float):
    parts = {name: torch.tensor(value) for name, value in losses.items()}
    mixed = None if partners is None else torch.tensor(partners)
    return StepRecord(parts, LOGITS[:count], torch.tensor(labels), mixed, share)


def test_means_weigh_each_image_alike() -> None:
    metrics = EpochMetrics()
    sums = metrics.add("train", [record(3, [0, 1, 1], loss=1.0), record(1, [0], loss=5.0)])
    metrics.add("val", [record(2, [1, 1], loss=0.5)])
    assert sums["train_loss"].item() == 8.0
    assert metrics.means() == {"train_loss": 2.0, "train_accuracy": 0.75, "val_loss": 0.5, "val_accuracy": 0.5}
    assert metrics.images == {"train": 4, "val": 2}


def test_the_parts_of_a_students_loss_add_up() -> None:
    metrics = EpochMetrics()
    metrics.add("train", [record(1, [0], label_loss=1.0, distillation_loss=2.0)])
    metrics.add("train", [record(3, [0, 1, 0], label_loss=3.0, distillation_loss=0.0)])
    metrics.add("val", [record(1, [0], loss=1.0)])
    means = metrics.means()
    assert (means["label_loss"], means["distillation_loss"], means["train_loss"]) == (2.5, 0.5, 3.0)


def test_a_mixed_image_is_right_by_the_share_of_the_label_that_was_said() -> None:
    metrics = EpochMetrics()
    metrics.add("train", [record(3, [0, 0, 1], [1, 1, 1], share=0.75, loss=0.0)])
    assert metrics.means()["train_accuracy"] == pytest.approx((0.75 + 0.25 + 0.0) / 3)


def test_sums_are_those_of_float64() -> None:
    loss, logits, labels = torch.tensor(0.1), torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
    metrics = EpochMetrics()
    for _ in range(2_000):
        metrics.add("val", [StepRecord({"kl_to_teacher": loss}, logits, labels)])
    wanted = {"val_kl_to_teacher": loss.double().item(), "val_accuracy": 1.0}
    assert metrics.means() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_step_whose_loss_is_no_number_is_found(bad: float) -> None:
    metrics = EpochMetrics()
    metrics.add("train", [record(1, [0], loss=1.0), record(1, [0], loss=2.0)])
    assert metrics.first_step_without_a_number() is None
    metrics.add("train", [record(1, [0], loss=3.0), record(1, [0], loss=bad), record(1, [0], loss=bad)])
    step = metrics.first_step_without_a_number()
    assert step is not None
    assert step[0] == 4
    assert str(step[1]["loss"]) == str(bad)


def test_nothing_is_read_before_the_epoch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(self: Tensor) -> None:
        raise AssertionError("the step waits for the device")

    metrics = EpochMetrics()
    step = record(3, [0, 1, 1], loss=1.0)
    monkeypatch.setattr(Tensor, "item", waits)
    monkeypatch.setattr(Tensor, "tolist", waits)
    metrics.add("train", [step])
