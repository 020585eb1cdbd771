"""Activation boundaries: the student learns which of the teacher's neurons are active, not how strongly.

Heo et al. 2019, "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
arXiv:1811.03233.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import connector, same_size


def boundary_loss(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Squared hinge loss of neurons: 0 for one that is `margin` or more from zero on the teacher's side (equation 6).

    The sum over the neurons, mean over the images, of layers [N, C, H, W] in front of their activations.
    """
    side = torch.where(teacher > 0, 1.0, -1.0)
    return (margin - side * student).clamp_min(0).square().sum() / len(student)


class AB(nn.Module):
    """Σ over the layers of boundary_loss(connector(student's layer), teacher's layer).

    The deepest layer counts once, the layer before it a half, and so on. Layers [N, C, H, W] lie in front of their
    activations. A connector is a 1x1 convolution with batch norm. As in the paper, `init_share` of the stage
    initialises the student by this loss alone.

    Args:
        margin: Distance from zero that a neuron must reach, above 0; 1 by default.

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
        """Builds the connectors.

        Raises:
            ValueError: a teacher's layer lies behind its activation.
        """
        self.connectors = nn.ModuleList(
            connector(student.shape[1], teacher.shape[1]) for student, teacher in example.preactivation_pairs()
        )

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for connect, pair in zip(self.connectors, map_pairs(student, teacher), strict=True):
            student_maps, teacher_maps = same_size(*pair)
            loss = loss / 2 + boundary_loss(connect(student_maps), teacher_maps, self.margin)
        return loss
