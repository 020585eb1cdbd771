"""Normalised distillation: soft cross-entropy on the label, and on the other classes scaled to sum to one.

Yang et al. 2023, "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized
Loss and Customized Soft Labels", arXiv:2303.13005.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise, without_label


@dataclass(frozen=True)
class NKD:
    """−p_t(y) log p_s(y) + other_weight · T² · CE of the other classes, normalised, at T (equation 6).

    The label's part is at temperature 1. The label is taken out of the other classes before they are normalised;
    a mask that removes nothing, as in a version of the authors' code, would count it twice.

    Args:
        other_weight: γ of the paper: 1.5 (with T=1) on ImageNet, 3.5 (with T=3) on CIFAR-100.
    """

    other_weight: float = 1.5

    needs = Needs(labels=True, teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        logits, targets = precise(student.logits), precise(teacher.logits)
        label = labels.unsqueeze(1)
        target = -(F.softmax(targets, 1).gather(1, label) * F.log_softmax(logits, 1).gather(1, label)).mean()
        rest_student, rest_teacher = (without_label(of, labels) / temperature for of in (logits, targets))
        others = -(F.softmax(rest_teacher, 1) * F.log_softmax(rest_student, 1)).sum(1).mean()
        return target + self.other_weight * temperature**2 * others
