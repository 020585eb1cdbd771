"""Hard targets: the student learns the class that the teacher predicts, as if it were the label.

Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention", arXiv:2012.12877.

This is the hard form of DeiT's distillation (equation 3), for any student. With `distillation.label_weight=0` the
student never sees a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise


def hard_cross_entropy(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy of the student with the class that the teacher predicts, mean over the batch; logits [N, K].

    The class is the argmax of the logits. Rounding the probabilities first would turn every row without a probability
    above 0.5 into class 0.
    """
    return F.cross_entropy(precise(student_logits), teacher_logits.argmax(1))


@dataclass(frozen=True)
class Hard:
    """CE(student, argmax of the teacher's logits [N, K]), mean over the batch; the temperature plays no part."""

    needs = Needs(teacher_logits=True, several_labels="pairs")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return hard_cross_entropy(student.logits, teacher.logits)
