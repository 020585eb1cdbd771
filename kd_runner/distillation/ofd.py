"""Overhaul of feature distillation: layers in front of their activations, without what the ReLU throws away anyway.

Heo et al. 2019, "A Comprehensive Overhaul of Feature Distillation", arXiv:1904.01866.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import connector, same_size


def partial_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance, 0 where student <= teacher <= 0; summed, mean over images (equation 2)."""
    skipped = (student <= teacher) & (teacher <= 0)
    return (student - teacher).square().masked_fill(skipped, 0).sum() / len(student)


class OFD(nn.Module):
    """Partial distance of connected layers to the teacher's, the deepest counting once, each one before it half.

    The teacher's layers first go through a margin ReLU, max(x, margin) (equation 1): each channel's margin is the
    mean of its negative responses to the images so far. (The authors compute it from batch norm's parameters, which
    needs batch norm there.) The teacher stays in evaluation mode; in the authors' code its batch norms run in training
    mode. A connector is a 1x1 convolution with batch norm.
    """

    needs = Needs(student="preactivations", teacher="preactivations")

    def adapt(self, example: AdapterExample) -> None:
        """Builds the connectors. Raises ValueError where a teacher's layer lies behind its activation."""
        pairs = example.preactivation_pairs()
        self.connectors = nn.ModuleList(connector(student.shape[1], teacher.shape[1]) for student, teacher in pairs)
        for number, (_, teacher) in enumerate(pairs):
            # Of each channel: the sum of its negative responses so far, and how many they are.
            self.register_buffer(f"negatives{number}", torch.zeros(2, teacher.shape[1], dtype=torch.float64))

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for number, (ours, theirs) in enumerate(map_pairs(student, teacher)):
            margin = self._margin(number, theirs)
            ours, theirs = same_size(self.connectors[number](ours), torch.maximum(theirs, margin))
            loss = loss / 2 + partial_distance(ours, theirs)
        return loss

    @torch.no_grad()
    def _margin(self, number: int, teacher: Tensor) -> Tensor:
        seen: Tensor = getattr(self, f"negatives{number}")
        places = (0, 2, 3)
        seen += torch.stack([teacher.clamp_max(0).sum(places).double(), (teacher < 0).sum(places).double()])
        return (seen[0] / seen[1].clamp_min(1)).to(teacher.dtype).view(1, -1, 1, 1)
