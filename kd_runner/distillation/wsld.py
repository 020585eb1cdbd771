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
from kd_runner.tensors import kl_of_images, precise


def log_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """[N]: the logarithm of the cross-entropy of logits [N, K] with labels [N].

    It is right for confident logits, too, whose cross-entropy is a zero of float32.
    """
    label = labels.unsqueeze(1)
    # How far all other classes together are above the label, in logits.
    gap = logits.scatter(1, label, -torch.inf).logsumexp(1) - logits.gather(1, label).squeeze(1)
    # CE = log(1 + exp(gap)), which is exp(gap) where that is small.
    return torch.where(gap < -15, gap, F.softplus(gap).log())


@dataclass(frozen=True)
class WSLD:
    """T² · mean of (1 − exp(−CE_student / CE_teacher)) · KL(teacher || student) (equations 14 and 15).

    Logits are [N, K], labels [N]. The weights, from cross-entropies with the labels at temperature 1, carry no
    gradient. The paper has the cross-entropy with the soft targets instead of the divergence: the same gradient.
    """

    needs = Needs(labels=True, teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        logits, targets = precise(student.logits), precise(teacher.logits)
        with torch.no_grad():
            ratio = torch.exp(log_cross_entropy(logits, labels) - log_cross_entropy(targets, labels))
            weights = -torch.expm1(-ratio)
        divergences = kl_of_images(
            F.log_softmax(logits / temperature, dim=1), F.log_softmax(targets / temperature, dim=1)
        )
        return temperature**2 * (weights * divergences).mean()
