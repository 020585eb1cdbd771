"""Decoupled distillation: how sure the teacher is of the label, and what it says of the other classes, apart.

Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import kl_of_images, precise, without_label


def decoupled_losses(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """(TCKD [N], NCKD [N]) of each image, in nats, not scaled by the temperature (equation 7).

    TCKD is the divergence of the two probabilities 'the label' and 'another class', NCKD that of the
    distributions over the other classes. KL = TCKD + (1 − p_teacher(label)) · NCKD.

    Args:
        student_logits, teacher_logits: [N, K], unnormalised.
        labels: int64 [N].
        temperature: Softmax temperature, positive.
    """
    student_target, student_non_target = _split_by_label(precise(student_logits) / temperature, labels)
    teacher_target, teacher_non_target = _split_by_label(precise(teacher_logits) / temperature, labels)
    return kl_of_images(student_target, teacher_target), kl_of_images(student_non_target, teacher_non_target)


def _split_by_label(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the probabilities of ('the label' and 'another class' [N, 2], each other class [N, K − 1])."""
    non_target = without_label(logits, labels)
    # By logsumexp over the other classes: the logarithm of a sum of probabilities is −inf from a gap of 100 on.
    pair = torch.cat([logits.gather(1, labels.unsqueeze(1)), non_target.logsumexp(1, keepdim=True)], dim=1)
    return F.log_softmax(pair, dim=1), F.log_softmax(non_target, dim=1)


@dataclass(frozen=True)
class DKD:
    """T² · (target_weight · TCKD + other_weight · NCKD), mean over the batch; logits [N, K], labels [N].

    Args:
        target_weight: α of the paper, 0 or more: 1 throughout the paper.
        other_weight: β of the paper, 0 or more: 8 for its pairs of different widths on CIFAR-100, 2 for ResNet-56 to
            ResNet-20, 6 for VGGs, 0.5 to 2 on ImageNet.
    """

    target_weight: float = 1.0
    other_weight: float = 8.0

    needs = Needs(labels=True, teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        target, non_target = decoupled_losses(student.logits, teacher.logits, labels, temperature)
        return temperature**2 * (self.target_weight * target.mean() + self.other_weight * non_target.mean())
