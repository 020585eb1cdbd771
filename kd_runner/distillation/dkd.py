"""Decoupled distillation: how sure the teacher is of the label, and what it says of the other classes, apart.

Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise, without_label


def decoupled_losses(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """(TCKD [N], NCKD [N]) of each image, not scaled by the temperature (equation 7).

    TCKD is the divergence of the two probabilities 'the label' and 'another class', NCKD that of the
    distributions over the other classes. KL = TCKD + (1 − p_teacher(label)) · NCKD.

    Args:
        student_logits, teacher_logits: [N, K], unnormalised.
        labels: int64 [N].
    """
    binary, others = [], []
    for logits in (precise(student_logits) / temperature, precise(teacher_logits) / temperature):
        label = labels.unsqueeze(1)
        rest = without_label(logits, labels)
        # By logsumexp over the other classes: the logarithm of a sum of probabilities is −inf from a gap of 100 on.
        pair = torch.cat([logits.gather(1, label), rest.logsumexp(1, keepdim=True)], dim=1)
        binary.append(F.log_softmax(pair, dim=1))
        others.append(F.log_softmax(rest, dim=1))
    return tuple(  # type: ignore[return-value]
        F.kl_div(student, teacher, reduction="none", log_target=True).sum(1) for student, teacher in (binary, others)
    )


@dataclass(frozen=True)
class DKD:
    """T² · (target_weight · TCKD + other_weight · NCKD), mean over the batch.

    Args:
        target_weight: α of the paper: 1 throughout.
        other_weight: β of the paper: 8 for its pairs of different widths on CIFAR-100, 2 for ResNet-56 to ResNet-20,
            6 for VGGs, 0.5 to 2 on ImageNet.
    """

    target_weight: float = 1.0
    other_weight: float = 8.0

    needs = Needs(labels=True, teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        target, others = decoupled_losses(student.logits, teacher.logits, labels, temperature)
        return temperature**2 * (self.target_weight * target.mean() + self.other_weight * others.mean())
