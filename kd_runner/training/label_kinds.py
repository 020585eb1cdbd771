"""The parts of a stage that differ where an image may have several labels: its loss, its metrics, its score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.datasets.splits import has_several_labels
from kd_runner.evaluation.agreement import same_predictions
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.process_group import ProcessGroup
from kd_runner.tensors import mean_kl, one_versus_all
from kd_runner.training.epoch_metrics import EpochMetrics
from kd_runner.training.label_loss import LabelLoss
from kd_runner.training.multi_label_loss import BinaryLabelLoss, MetricsOfSeveralLabels
from kd_runner.training.recipe import Recipe


@dataclass(frozen=True)
class LabelKind:
    """The functions of a stage that depend on whether an image has one label or several.

    Args:
        score: The name of the metric of the validation images by which epochs are compared.
        in_words: The name of the score for people.
        label_loss: Makes the label loss of a training.
        validation_loss: The loss of logits [N, K] for labels of validation images.
        epoch_metrics: Makes the sums of an epoch.
        closeness: Agreement with the teacher and KL(teacher || student) at temperature 1, of both logits [N, K].
    """

    score: str
    in_words: str
    label_loss: Callable[[Recipe, TrainingBatches], LabelLoss]
    validation_loss: Callable[[Tensor, Tensor], Tensor]
    epoch_metrics: Callable[[ProcessGroup], EpochMetrics]
    closeness: Callable[[Tensor, Tensor], dict[str, Tensor]]


def _label_loss(recipe: Recipe, batches: TrainingBatches) -> LabelLoss:
    return LabelLoss(recipe.label_smoothing, recipe.switches.class_weights, lambda: batches.labels)


def _binary_label_loss(recipe: Recipe, batches: TrainingBatches) -> LabelLoss:
    return BinaryLabelLoss(0.0, recipe.switches.class_weights, lambda: batches.labels)


def _closeness(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    kl = mean_kl(student.log_softmax(1), teacher.log_softmax(1))
    return {"agreement": same_predictions(student, teacher).float().mean(), "kl_to_teacher": kl}


def _closeness_of_labels(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    kl = mean_kl(one_versus_all(student).log_softmax(1), one_versus_all(teacher).log_softmax(1))
    return {"agreement": same_predictions(student, teacher, multi_label=True).float().mean(), "kl_to_teacher": kl}


def _binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


ONE = LabelKind("val_accuracy", "val accuracy", _label_loss, F.cross_entropy, EpochMetrics, _closeness)
SEVERAL = LabelKind(
    "val_map", "val mAP", _binary_label_loss, _binary_cross_entropy, MetricsOfSeveralLabels, _closeness_of_labels
)


def kind_of(labels: Tensor) -> LabelKind:
    """The kind of labels int64 [N], one for each image, or uint8 [N, K]."""
    return SEVERAL if has_several_labels(labels) else ONE
