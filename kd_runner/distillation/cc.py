"""Correlation congruence: similarities between images, by a Gaussian kernel, are those that the teacher sees.

Peng et al. 2019, "Correlation Congruence for Knowledge Distillation", arXiv:1904.01802.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_runner.outputs import Needs, Outputs, deepest
from kd_runner.tensors import unit, vectors


def correlations(embeddings: Tensor, gamma: float, order: int) -> Tensor:
    """[N, N]: exp(−γ ‖x − y‖²) of embeddings [N, C] scaled to length 1 (equations 8 to 10).

    By the Taylor series in x · y, up to the power `order`.
    """
    directions = unit(embeddings)
    products = directions @ directions.t()
    terms = [(2 * gamma) ** p / math.factorial(p) * products.pow(p) for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(terms).sum(0)


@dataclass(frozen=True)
class CC:
    """Mean over all pairs of images of (correlation in the student − correlation in the teacher)² (equation 4).

    Embeddings are the last layers, as vectors [N, C]; the two networks may differ in C.

    Args:
        gamma: γ of the kernel, above 0.
        order: P of the paper, the last power of the Taylor series, 1 or more.

    Raises:
        ValueError: a gamma not above 0, or an order below 1.
    """

    gamma: float = 0.4
    order: int = 2

    needs = Needs(student="embedding", teacher="embedding", whole_batch=True)

    def __post_init__(self) -> None:
        if self.gamma <= 0 or self.order < 1:
            raise ValueError(f"gamma must be above 0 and order 1 or more, got {self.gamma:g} and {self.order}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_correlations, teacher_correlations = (
            correlations(vectors(deepest(outputs)), self.gamma, self.order) for outputs in (student, teacher)
        )
        return (student_correlations - teacher_correlations).square().mean()
