"""Knowledge review: a student's layer, fused with all deeper ones, learns from the teacher's.

Chen et al. 2021, "Distilling Knowledge via Knowledge Review", arXiv:2104.09044.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.notes import note
from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import connector

LEVELS = (4, 2, 1)  # sides of the pooled maps, which are compared, too


def pyramid_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Weighted mean of the squared distances of maps [N, C, H, W] and of their pooled forms (section 3.4).

    Each level of pooling has half the weight of the level before it.
    """
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in LEVELS:
        if side < student.shape[2]:
            weight /= 2
            total += weight
            small_student, small_teacher = (F.adaptive_avg_pool2d(maps, side) for maps in (student, teacher))
            loss = loss + weight * F.mse_loss(small_student, small_teacher)
    return loss / total


class Fusion(nn.Module):
    """Fusion of a layer with the fused deeper layers, by attention (section 3.3)."""

    def __init__(self, inputs: int, width: int, outputs: int, fuses: bool) -> None:
        super().__init__()
        self.reduce = connector(inputs, width)
        self.attention = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if fuses else None
        self.out = nn.Sequential(nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, layer: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """(maps of `size` to compare with the teacher's layer, fused maps of `size` for the next shallower layer).

        Args:
            layer: [N, inputs, H, W], the student's.
            deeper: [N, width, H', W'], the fused deeper layers; None at the deepest layer.
            size: Height and width of the teacher's layer.
        """
        fused = self.reduce(layer)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:])
            shares = self.attention(torch.cat([fused, deeper], dim=1))
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        resized = fused if fused.shape[2:] == size else F.interpolate(fused, size)
        return self.out(resized), resized


class ReviewKD(nn.Module):
    """Σ over the layers of pyramid_distance(fused student's layer, teacher's layer) (equation 8).

    Layers are [N, C, H, W]. As in the authors' code, the teacher's layers lie in front of their activations, the
    student's behind them.

    Args:
        width: Largest number of channels inside the fusions, 1 or more. They never have more than the student's
            deepest layer.

    Raises:
        ValueError: a width below 1.
    """

    needs = Needs(student="stages and embedding", teacher="preactivations and embedding")

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be 1 or more, got {width}")
        self.width = width

    def adapt(self, example: AdapterExample) -> None:
        """Builds the fusions."""
        pairs = example.pairs()
        for name, (_, teacher) in zip(example.teacher.features, pairs, strict=True):
            if teacher.shape[2:].numel() > 1 and bool(teacher.min() >= 0):
                note(
                    "teacher",
                    f"reviewkd: the teacher's {name} is never negative, so it lies behind its activation; the authors "
                    "compare with what goes into that: name that layer in teacher_layers, if the teacher has it",
                )
        width = min(self.width, pairs[-1][0].shape[1])
        self.fusions = nn.ModuleList(
            Fusion(student.shape[1], width, teacher.shape[1], fuses=number < len(pairs) - 1)
            for number, (student, teacher) in enumerate(pairs)
        )

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss, deeper = student.logits.new_zeros(()), None
        layers = list(zip(self.fusions, map_pairs(student, teacher), strict=True))
        for fusion, (student_maps, teacher_maps) in reversed(layers):
            fused, deeper = fusion(student_maps, deeper, teacher_maps.shape[2:])
            loss = loss + pyramid_distance(fused, teacher_maps)
        return loss
