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

LEVELS = (4, 2, 1)  # sides of the pooled maps that are compared as well


def pyramid_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of maps and of their pooled forms, each level with half the weight (section 3.4)."""
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in LEVELS:
        if side < student.shape[2]:
            weight /= 2
            total += weight
            ours, theirs = (F.adaptive_avg_pool2d(each, side) for each in (student, teacher))
            loss = loss + weight * F.mse_loss(ours, theirs)
    return loss / total


class Fusion(nn.Module):
    """Attention-based fusion of a layer with what came from the deeper ones (section 3.3)."""

    def __init__(self, inputs: int, width: int, outputs: int, fuses: bool) -> None:
        super().__init__()
        self.reduce = connector(inputs, width)
        self.attention = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if fuses else None
        self.out = nn.Sequential(nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, layer: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """(what is compared with the teacher's layer of `size`, what goes on to the next shallower layer)."""
        fused = self.reduce(layer)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:])
            shares = self.attention(torch.cat([fused, deeper], dim=1))
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        resized = fused if fused.shape[2:] == size else F.interpolate(fused, size)
        return self.out(resized), fused


class ReviewKD(nn.Module):
    """Pyramid distance of fused layers to the teacher's, summed over the layers (equation 8).

    As in the authors' code, the teacher's layers lie in front of their activations, the student's behind them.

    Args:
        width: Channels inside the fusions, at most; no more than the deepest layer has.

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
        for fusion, (ours, theirs) in reversed(list(zip(self.fusions, map_pairs(student, teacher), strict=True))):
            compared, deeper = fusion(ours, deeper, theirs.shape[2:])
            loss = loss + pyramid_distance(compared, theirs)
        return loss
