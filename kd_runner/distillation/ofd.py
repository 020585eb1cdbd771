"""Overhaul of feature distillation: layers in front of their activations, without the part that a ReLU drops.

Heo et al. 2019, "A Comprehensive Overhaul of Feature Distillation", arXiv:1904.01866.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import connector, same_size


def partial_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ (student − teacher)², without numbers where student <= teacher <= 0; mean over the images (equation 2)."""
    skipped = (student <= teacher) & (teacher <= 0)
    return (student - teacher).square().masked_fill(skipped, 0).sum() / len(student)


class OFD(nn.Module):
    """Σ over the layers of partial_distance(connector(student's layer), margin ReLU of the teacher's layer).

    The deepest layer counts once, the layer before it a half, and so on. Layers are [N, C, H, W] in front of their
    activations. A connector is a 1x1 convolution with batch norm.

    The margin ReLU is max(x, margin) (equation 1): each channel's margin is the mean of its negative responses to the
    images so far. (The authors compute it from batch norm's parameters, which needs batch norm there.) The teacher
    stays in evaluation mode; in the authors' code its batch norms run in training mode.
    """

    needs = Needs(student="preactivations", teacher="preactivations", whole_batch=True)

    def adapt(self, example: AdapterExample) -> None:
        """Builds the connectors.

        Raises:
            ValueError: a teacher's layer lies behind its activation.
        """
        pairs = example.preactivation_pairs()
        self.connectors = nn.ModuleList(connector(student.shape[1], teacher.shape[1]) for student, teacher in pairs)
        for number, (_, teacher) in enumerate(pairs):
            # Of each channel: the sum of its negative responses so far, and how many they are.
            self.register_buffer(f"negatives{number}", torch.zeros(2, teacher.shape[1], dtype=torch.float64))

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for number, (student_maps, teacher_maps) in enumerate(map_pairs(student, teacher)):
            targets = torch.maximum(teacher_maps, self._margin(number, teacher_maps))
            loss = loss / 2 + partial_distance(*same_size(self.connectors[number](student_maps), targets))
        return loss

    @torch.no_grad()
    def _margin(self, number: int, teacher: Tensor) -> Tensor:
        """[1, C, 1, 1]: the mean of each channel's negative numbers so far, with those in `teacher` [N, C, H, W]."""
        negatives: Tensor = getattr(self, f"negatives{number}")
        dims = (0, 2, 3)
        negatives += torch.stack([teacher.clamp_max(0).sum(dims).double(), (teacher < 0).sum(dims).double()])
        return (negatives[0] / negatives[1].clamp_min(1)).to(teacher.dtype).view(1, -1, 1, 1)
