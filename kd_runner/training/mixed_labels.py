"""Losses of batches whose images may be mixed from two: the mean over both labels, weighted by their shares."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from kd_runner.input_pipeline.augmentation import Batch


def loss_over_labels(batch: Batch, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The `loss` of the batch's labels; for mixed images, the mean over both labels, weighted by their shares."""
    if batch.partners is None:
        return loss(batch.labels)
    return batch.share * loss(batch.labels) + (1 - batch.share) * loss(batch.partners)


def label_loss_of(batch: Batch, loss: Callable[..., Tensor]) -> Tensor:
    """The `loss` of the batch's labels, as in `loss_over_labels`; it also takes the images' weights, if any."""
    if batch.weights is None:
        return loss_over_labels(batch, loss)
    loss_of_labels = loss(batch.labels, batch.weights)
    if batch.partners is None:
        return loss_of_labels
    return batch.share * loss_of_labels + (1 - batch.share) * loss(batch.partners, batch.partner_weights)
