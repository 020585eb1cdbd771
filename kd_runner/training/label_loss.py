"""The cross-entropy with labels, with smoothed labels and weights of classes where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.datasets.labels.unlabelled import UNLABELLED
from kd_runner.training.switches import ClassWeights


def weights_of_classes(asked: ClassWeights, labels: Tensor, classes: int) -> Tensor:
    """Weights of the classes, float32 [K], whose mean over the images is 1, so that the loss keeps its size.

    'balanced' gives all classes that occur the same sum, as scikit-learn's `compute_class_weight` does. Without any
    label there is nothing to weigh: the weights are 1.

    Args:
        asked: The weights of the settings, whose scale does not matter, or 'balanced'.
        labels: The labels of the training images, int64 [N].
        classes: The number of classes, K.
    """
    if not len(labels):
        return torch.ones(classes, device=labels.device)
    counts = torch.bincount(labels, minlength=classes).double()
    if asked == "balanced":
        weights = torch.where(counts > 0, 1 / counts.clamp_min(1), 0.0)
    else:
        weights = torch.tensor(asked, dtype=torch.float64, device=labels.device)
    return (weights * (counts.sum() / (weights * counts).sum())).float()


@dataclass
class LabelLoss:
    """The cross-entropy of logits [N, K] with labels [N], as a mean over the images.

    With weights of classes, of images, or of both, which multiply, each image's loss counts as often as they say, and
    the sum is divided by the number of images. PyTorch divides by the sum of the weights in the batch, which is the
    same over all training images, but makes an image count less that comes with many of its class; and parts of a batch
    could not be added. It also weighs each class's share of a smoothed label by the weight of that class, so that the
    network learns other labels than the smoothed ones: with two classes in the ratio 9 to 1 and smoothing 0.1, it
    would be 68 % sure of the common class where the label says 95 %.

    Args:
        smoothing: Smoothing of the labels, in [0, 1).
        class_weights: Weights of the classes, or 'balanced'; None for none.
        labels: A function that gives the labels of the training images, int64 [N], on the device of the logits.
    """

    smoothing: float
    class_weights: ClassWeights
    labels: Callable[[], Tensor]
    _weights: Tensor | None = field(default=None, init=False, repr=False)

    def __call__(self, logits: Tensor, labels: Tensor, image_weights: Tensor | None = None) -> Tensor:
        """The loss.

        Args:
            image_weights: Weights of the images, [N], with a mean of 1 over all training images; None: all alike.
        """
        if self.class_weights is None and image_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        return self._mean_of_weighted(logits, labels, image_weights)

    def _mean_of_weighted(self, logits: Tensor, labels: Tensor, image_weights: Tensor | None) -> Tensor:
        """The mean over all images, of which those without a label have no loss."""
        losses = F.cross_entropy(
            logits, labels, ignore_index=UNLABELLED, label_smoothing=self.smoothing, reduction="none"
        )
        if self.class_weights is not None:
            losses = losses * self._weights_of_classes(logits.shape[1])[labels.clamp_min(0)]
        return (losses if image_weights is None else losses * image_weights).mean()

    def _weights_of_classes(self, classes: int) -> Tensor:
        """The weights of the classes, [K], which are counted once."""
        if self._weights is None:
            known = self.labels()
            self._weights = weights_of_classes(self.class_weights, known[known != UNLABELLED], classes)
        return self._weights


class LossWhereLabelled(LabelLoss):
    """A label loss where images may have no label: their loss is 0, and the mean is that over all images.

    A mean over the images with labels alone would make such an image count more, the fewer there are in its batch, and
    a batch without any would be no number.
    """

    def __call__(self, logits: Tensor, labels: Tensor, image_weights: Tensor | None = None) -> Tensor:
        return self._mean_of_weighted(logits, labels, image_weights)
