"""Weighted transformed teacher matching: images of which the softened teacher is less sure count more.

Zheng and Yang 2024, "Knowledge Distillation Based on Transformed Teacher Matching" (ICLR 2024), arXiv:2402.11148.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.distillation.ttm import transformed_divergences
from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise


def power_sums(logits: Tensor, temperature: float) -> Tensor:
    """[N]: Σ_k p_k^(1/T) of the probabilities p at temperature 1 of logits [N, K].

    From 1, for an image of which p is sure, to K^(1 − 1/T): exp((1 − γ) · Rényi's entropy of order γ = 1/T).
    """
    return (F.log_softmax(precise(logits), dim=1) / temperature).logsumexp(1).exp()


@dataclass(frozen=True)
class WTTM:
    """Mean over the batch of U · KL(teacher at the temperature T || student at temperature 1); logits [N, K].

    U, the weight of an image, is Σ_k p_k^γ over the teacher's probabilities p at temperature 1, with γ = 1 / T, and at
    least 1. The student is at temperature 1, so nothing is multiplied by T².
    """

    needs = Needs(teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        divergences = transformed_divergences(student.logits, teacher.logits, temperature)
        return (power_sums(teacher.logits, temperature) * divergences).mean()
