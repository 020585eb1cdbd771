"""Activation boundaries: which neurons are on matters, and how far they are on does not.

Heo et al. 2019, "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
arXiv:1811.03233.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import connector, same_size


def boundary_loss(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Squared hinge of each neuron, `margin` beyond its side of zero; summed, mean over images (equation 6)."""
    side = torch.where(teacher > 0, 1.0, -1.0)
    return (margin - side * student).clamp_min(0).square().sum() / len(student)


class AB(nn.Module):
    """The boundary loss of connected layers in front of their activations, the deepest counting once, each before half.

    A connector is a 1x1 convolution with batch norm. As in the paper, `init_share` of the stage initialises the student
    by this loss alone.

    Args:
        margin: How far beyond zero a neuron must be.

    Raises:
        ValueError: a margin of 0 or less.
    """

    needs = Needs(student="preactivations", teacher="preactivations")

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        if margin <= 0:
            raise ValueError(f"margin must be above 0, got {margin:g}")
        self.margin = margin

    def adapt(self, example: AdapterExample) -> None:
        """Builds the connectors. Raises ValueError where a teacher's layer lies behind its activation."""
        self.connectors = nn.ModuleList(
            connector(student.shape[1], teacher.shape[1]) for student, teacher in example.preactivation_pairs()
        )

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for connect, (ours, theirs) in zip(self.connectors, map_pairs(student, teacher), strict=True):
            ours, theirs = same_size(ours, theirs)
            loss = loss / 2 + boundary_loss(connect(ours), theirs, self.margin)
        return loss
