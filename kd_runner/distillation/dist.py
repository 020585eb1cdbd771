"""DIST: the student's probabilities need only correlate with the teacher's, over classes and over images.

Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", arXiv:2205.10536.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import inverse, precise


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − Pearson's correlation of the rows of [N, M], mean over the rows (equation 5); 1 for a constant row."""
    student, teacher = (_centre(values) for values in (student, teacher))
    return 1 - F.cosine_similarity(student, teacher, dim=1, eps=1e-8).mean()


def _centre(values: Tensor) -> Tensor:
    """Rows of [N, M] less their mean, scaled to a range of 1, whose squares float32 can hold."""
    values = values - values.mean(1, keepdim=True)
    return values * inverse(values.detach().abs().amax(1, keepdim=True))


def _shares(logits: Tensor, temperature: float) -> Tensor:
    """log(K · softmax(logits / temperature)) [N, K], exact for logits near 0 as well."""
    scaled = precise(logits) / temperature
    scaled = scaled - scaled.amax(1, keepdim=True)
    return scaled - torch.log1p(torch.expm1(scaled).mean(1, keepdim=True))


def _relative(logarithms: Tensor) -> Tensor:
    """exp(logarithms) of rows [N, M], up to a factor and a constant for each row, which a correlation does not see."""
    return torch.expm1(logarithms - logarithms.detach().amax(1, keepdim=True))


@dataclass(frozen=True)
class DIST:
    """inter_weight · distance over the classes of each image + intra_weight · distance over the images of each class.

    The distance is 1 − Pearson's correlation of probabilities at the temperature; logits [N, K].

    Args:
        inter_weight, intra_weight: β and γ of the paper, 0 or more. The paper's 2 for both is in `weight` here.
        temperature_squared: True multiplies by T², as the authors' code does and their paper does not.
    """

    inter_weight: float = 1.0
    intra_weight: float = 1.0
    temperature_squared: bool = False

    needs = Needs(teacher_logits=True, whole_batch=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        shares, targets = (_shares(outputs.logits, temperature) for outputs in (student, teacher))
        inter = pearson_distance(_relative(shares), _relative(targets))
        intra = pearson_distance(_relative(shares.t()), _relative(targets.t()))
        loss = self.inter_weight * inter + self.intra_weight * intra
        return loss * temperature**2 if self.temperature_squared else loss
