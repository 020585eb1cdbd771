"""Correlation congruence: how images relate, by a Gaussian kernel, in the student as in the teacher.

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
    """[N, N]: exp(−γ ‖x − y‖²) of unit embeddings, by its Taylor series of x · y up to `order` (equations 8 to 10)."""
    directions = unit(embeddings)
    products = directions @ directions.t()
    terms = [(2 * gamma) ** p / math.factorial(p) * products.pow(p) for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(terms).sum(0)


@dataclass(frozen=True)
class CC:
    """Mean over all pairs of images of the squared difference of correlations (equation 4).

    Args:
        gamma: Of the kernel.
        order: P of the series.

    Raises:
        ValueError: a gamma not above 0, or an order below 1.
    """

    gamma: float = 0.4
    order: int = 2

    needs = Needs(student="embedding", teacher="embedding")

    def __post_init__(self) -> None:
        if self.gamma <= 0 or self.order < 1:
            raise ValueError(f"gamma must be above 0 and order 1 or more, got {self.gamma:g} and {self.order}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        ours, theirs = (correlations(vectors(deepest(each)), self.gamma, self.order) for each in (student, teacher))
        return (ours - theirs).square().mean()
