"""Simple recipe distillation: a linear projection of the student's embedding meets the teacher's, both normalised.

Miles and Mikolajczyk 2024, "Understanding the Role of the Projector in Knowledge Distillation" (AAAI 2024),
arXiv:2303.11098.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import vectors

EPSILON = 1e-4  # added to the variances, as in the authors' code


def batch_normalise(features: Tensor) -> Tensor:
    """Features [N, C] less their mean over the batch, divided by their deviation: batch norm without parameters."""
    variance, mean = torch.var_mean(features, 0, correction=0)
    return (features - mean) * torch.rsqrt(variance + EPSILON)


class SRD(nn.Module):
    """log Σ over images and dimensions of |normalised projection of the student's − normalised teacher's|^power.

    Embeddings are the last layers, as vectors [N, C]. The projector is one dense layer to the teacher's width, and both
    sides pass batch norm without parameters. The logarithm makes the gradient independent of the size of what is
    left; the loss has no least value. The authors add KL(teacher || student) at temperature 1: that is
    `+distillation@plus.soft=soft`.

    Args:
        power: Power of the differences, above 0: 4 in the paper, so that large differences count.

    Raises:
        ValueError: a power not above 0.
    """

    needs = Needs(student="embedding", teacher="embedding", whole_batch=True)

    def __init__(self, power: float = 4.0) -> None:
        super().__init__()
        if power <= 0:
            raise ValueError(f"power must be above 0, got {power:g}")
        self.power = power

    def adapt(self, example: AdapterExample) -> None:
        """Builds the projector."""
        inputs, outputs = (vectors(deepest(network)).shape[1] for network in (example.student, example.teacher))
        self.projector = nn.Linear(inputs, outputs, bias=False)  # batch norm takes a bias off again

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        projected = batch_normalise(self.projector(vectors(deepest(student))))
        difference = (projected - batch_normalise(vectors(deepest(teacher)))).abs()
        # Two silent layers differ by nothing, whose logarithm is −inf.
        return difference.pow(self.power).sum().clamp_min(torch.finfo(difference.dtype).tiny).log()
