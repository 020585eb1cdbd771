"""The label loss and the metrics of an epoch where an image may have several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.evaluation.multi_label_metrics import mean_average_precision
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup
from kd_runner.training.epoch_metrics import EpochMetrics, StepRecord
from kd_runner.training.label_loss import LabelLoss
from kd_runner.training.switches import ClassWeights


def weights_of_labels(asked: ClassWeights, labels: Tensor) -> Tensor:
    """The factor on the loss of each label where an image has it, float32 [K]: PyTorch's `pos_weight`.

    'balanced' is the number of images without the label over that with it, so that both count the same over all
    images; 1 for a label that no image has, or all have, which has nothing to be balanced with.

    Args:
        asked: The factors of the settings, or 'balanced'.
        labels: The labels of the training images, uint8 [N, K].
    """
    if asked != "balanced":
        return torch.tensor(asked, dtype=torch.float32, device=labels.device)
    having = labels.sum(0, dtype=torch.float64)
    lacking = len(labels) - having
    return torch.where((having > 0) & (lacking > 0), lacking / having.clamp_min(1), 1.0).float()


class BinaryLabelLoss(LabelLoss):
    """The binary cross-entropy of the sigmoids of logits [N, K] with labels uint8 [N, K], mean over images and labels.

    With weights, the loss of a label counts as often as its weight says where an image has it, and once where not.
    """

    def __call__(self, logits: Tensor, labels: Tensor, image_weights: Tensor | None = None) -> Tensor:
        """The loss.

        Args:
            image_weights: Weights of the images, [N]; None: all alike.
        """
        if self.class_weights is not None and self._weights is None:
            self._weights = weights_of_labels(self.class_weights, self.labels())
        weights = None if image_weights is None else image_weights.unsqueeze(1)
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weights, pos_weight=self._weights)


class MetricsOfSeveralLabels(EpochMetrics):
    """The sums of an epoch; 'label_accuracy' is the share of all images and labels of which a sigmoid is right at 0.5.

    The validation images also have 'val_map', the mean over the labels of the average precision. It needs the logits of
    all of them, which stay on the device until the epoch ends.
    """

    def __init__(self, process_group: ProcessGroup = SINGLE_PROCESS) -> None:
        super().__init__(process_group)
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, split: Literal["train", "val"], records: Sequence[StepRecord]) -> dict[str, Tensor]:
        if split == "val":
            self._logits += [record.logits for record in records]
            self._labels += [record.labels for record in records]
        return super().add(split, records)

    def hits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        right = ((logits > 0) == labels.bool()).double().mean(1)
        return right, torch.ones_like(right)

    def means(self) -> dict[str, float]:
        means = {
            f"{name.removesuffix('accuracy')}label_accuracy" if name.endswith("_accuracy") else name: value
            for name, value in super().means().items()
        }
        if self._logits:
            means["val_map"] = mean_average_precision(torch.cat(self._logits), torch.cat(self._labels))
        return means
