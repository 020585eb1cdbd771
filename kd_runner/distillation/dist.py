"""DIST: the student's probabilities need only correlate with the teacher's, over classes and over images.

Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", arXiv:2205.10536.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − Pearson's correlation of the rows of [N, M], mean over the rows (equation 5)."""
    student, teacher = student - student.mean(1, keepdim=True), teacher - teacher.mean(1, keepdim=True)
    return 1 - F.cosine_similarity(student, teacher, dim=1, eps=1e-8).mean()


@dataclass(frozen=True)
class DIST:
    """inter_weight · distance over the classes of each image + intra_weight · distance over the images of each class.

    Args:
        inter_weight, intra_weight: β and γ of the paper, whose 2 stands in `weight` here.
        temperature_squared: Times T², as the authors' code and not their paper has it.
    """

    inter_weight: float = 1.0
    intra_weight: float = 1.0
    temperature_squared: bool = False

    needs = Needs(teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        probabilities, targets = (F.softmax(each.logits.float() / temperature, dim=1) for each in (student, teacher))
        inter = pearson_distance(probabilities, targets)
        intra = pearson_distance(probabilities.t(), targets.t())
        loss = self.inter_weight * inter + self.intra_weight * intra
        return loss * temperature**2 if self.temperature_squared else loss
