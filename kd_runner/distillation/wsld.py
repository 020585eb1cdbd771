"""Weighted soft labels: images on which the student is already better than its teacher learn less from it.

Zhou et al. 2021, "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective",
arXiv:2102.00650.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise


def log_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """[N]: log CE(logits [N, K], labels). Of confident logits, whose cross-entropy is a zero of float32, too."""
    label = labels.unsqueeze(1)
    others = logits.scatter(1, label, -torch.inf).logsumexp(1) - logits.gather(1, label).squeeze(1)
    # CE = log(1 + exp(others)), which is exp(others) where that is small.
    return torch.where(others < -15, others, F.softplus(others).log())


@dataclass(frozen=True)
class WSLD:
    """T² · mean of (1 − exp(−CE_student / CE_teacher)) · KL(teacher || student) (equations 14 and 15).

    The weights, from cross-entropies with the labels at temperature 1, carry no gradient. The paper has the
    cross-entropy with the soft targets in the divergence's place: the same gradient.
    """

    needs = Needs(labels=True, teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        logits, targets = precise(student.logits), precise(teacher.logits)
        with torch.no_grad():
            ratio = torch.exp(log_cross_entropy(logits, labels) - log_cross_entropy(targets, labels))
            weights = -torch.expm1(-ratio)
        divergence = F.kl_div(
            F.log_softmax(logits / temperature, dim=1),
            F.log_softmax(targets / temperature, dim=1),
            reduction="none",
            log_target=True,
        ).sum(1)
        return temperature**2 * (weights * divergence).mean()
