"""The loss of a batch over its labels, of mixed images over both of theirs, with the weights of the images."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.training.mixed_labels import label_loss_of, loss_over_labels

LABELS, PARTNERS = torch.tensor([1.0]), torch.tensor([3.0])


def batch(**fields: object) -> Batch:
    return Batch(torch.zeros(1), LABELS, torch.zeros(1), **fields)  # type: ignore[arg-type]


def test_a_mixed_batch_has_the_loss_of_both_labels() -> None:
    mixed = batch(partners=PARTNERS, share=0.75)
    assert loss_over_labels(mixed, lambda labels: 2 * labels.sum()).item() == 0.75 * 2 + 0.25 * 6
    assert loss_over_labels(batch(), Tensor.sum).item() == 1.0


def test_each_label_comes_with_the_weights_of_its_image() -> None:
    weights, partner_weights = torch.tensor([2.0]), torch.tensor([4.0])

    def loss(labels: Tensor, weights: Tensor) -> Tensor:
        return (labels * weights).sum()

    assert label_loss_of(batch(), Tensor.sum).item() == 1.0
    assert label_loss_of(batch(weights=weights), loss).item() == 2.0
    mixed = batch(partners=PARTNERS, share=0.75, weights=weights, partner_weights=partner_weights)
    assert label_loss_of(mixed, loss).item() == 0.75 * 2 + 0.25 * 12
