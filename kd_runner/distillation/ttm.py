"""Transformed teacher matching: only the teacher is softened, the student learns it at temperature 1.

Zheng and Yang 2024, "Knowledge Distillation Based on Transformed Teacher Matching" (ICLR 2024), arXiv:2402.11148.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import kl_of_images, precise


def transformed_divergences(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """[N]: KL(transformed teacher || student) of each image, in nats, with the student at temperature 1.

    The power transform of the teacher's probabilities p is p^γ / Σ_k p_k^γ with γ = 1 / temperature, which is its
    probabilities at that temperature.

    Args:
        student_logits, teacher_logits: [N, K], unnormalised.
        temperature: 1 / γ, positive.
    """
    return kl_of_images(
        F.log_softmax(precise(student_logits), dim=1), F.log_softmax(precise(teacher_logits) / temperature, dim=1)
    )


@dataclass(frozen=True)
class TTM:
    """KL(teacher at the temperature T || student at temperature 1), mean over the batch; logits [N, K].

    T is 1 / γ of the paper. The loss is not multiplied by T², as the student's gradient does not shrink with T. Its
    least value, 0, is at student's logits of teacher's logits / T.
    """

    needs = Needs(teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return transformed_divergences(student.logits, teacher.logits, temperature).mean()
