"""Variational information distillation: the student's layers predict the teacher's, with a variance per channel.

Ahn et al. 2019, "Variational Information Distillation for Knowledge Transfer", arXiv:1904.05835.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import same_size

FLOOR = 1e-5  # smallest variance


class VID(nn.Module):
    """Σ over the layers of −log N(teacher's layer; mean(student's layer), variance) (equations 5 and 6).

    The mean over all elements of layers [N, C, H, W], without constant terms. mean() is three 1x1 convolutions of the
    student's layer. Each of the teacher's channels has a variance, softplus of a trained number + 1e-5.

    Args:
        initial_variance: Variance of every channel at the start, above 1e-5.

    Raises:
        ValueError: an initial variance of 1e-5 or less.
    """

    needs = Needs(student="stages", teacher="stages")

    def __init__(self, initial_variance: float = 5.0) -> None:
        super().__init__()
        if initial_variance <= FLOOR:
            raise ValueError(f"initial_variance must be above {FLOOR:g}, got {initial_variance:g}")
        self.initial_variance = initial_variance

    def adapt(self, example: AdapterExample) -> None:
        """Builds the means and the variances."""
        pairs = example.pairs()
        self.means = nn.ModuleList(_mean(student.shape[1], teacher.shape[1]) for student, teacher in pairs)
        start = math.log(math.expm1(self.initial_variance - FLOOR))
        # Parameters in a ParameterList: in a plain list, as published elsewhere, they never train.
        self.scales = nn.ParameterList(torch.full((1, teacher.shape[1], 1, 1), start) for _, teacher in pairs)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for mean, scale, pair in zip(self.means, self.scales, map_pairs(student, teacher), strict=True):
            student_maps, teacher_maps = same_size(*pair)
            variance = F.softplus(scale) + FLOOR
            loss = loss + 0.5 * ((mean(student_maps) - teacher_maps).square() / variance + variance.log()).mean()
        return loss


def _mean(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 1, bias=False),
    )
