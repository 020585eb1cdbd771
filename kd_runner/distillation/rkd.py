"""Relational distillation: distances and angles between images, not the embeddings themselves.

Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kd_runner.outputs import Needs, Outputs, deepest
from kd_runner.tensors import inverse, unit, vectors

AT_ONCE = 2**24  # angles whose intermediate values are in memory at once


def distances(embeddings: Tensor) -> Tensor:
    """[N, N]: Euclidean distances of embeddings [N, C], divided by the mean of those above 0 (equations 5 and 6)."""
    # The result does not depend on origin and unit: with these, squares of differences lose the fewest digits.
    embeddings = embeddings - embeddings.detach().mean(0)
    embeddings = embeddings * inverse(embeddings.detach().abs().amax())
    squared = embeddings.square().sum(1)
    products = squared[:, None] + squared[None, :] - 2 * embeddings @ embeddings.t()
    off_diagonal = 1 - torch.eye(len(embeddings), dtype=embeddings.dtype, device=embeddings.device)
    roots = products.clamp_min(1e-12).sqrt() * off_diagonal
    return roots / (roots.sum() / (roots > 0).sum().clamp_min(1)).clamp_min(1e-12)


def cosines(embeddings: Tensor, corners: Tensor) -> Tensor:
    """[M, N, N]: cosines of the angles at `corners` [M, C] between any two of `embeddings` [N, C] (equation 8)."""
    directions = unit(embeddings[None, :] - corners[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def _angle_loss(student: Tensor, teacher: Tensor, start: int, end: int) -> Tensor:
    student_cosines, teacher_cosines = cosines(student, student[start:end]), cosines(teacher, teacher[start:end])
    return F.smooth_l1_loss(student_cosines, teacher_cosines, reduction="sum")


@dataclass(frozen=True)
class RKD:
    """distance_weight · Huber loss of the distances + angle_weight · Huber loss of the angles' cosines.

    Between all pairs and triples of images, of the last layers as vectors [N, C]; the two networks may differ in C.

    Args:
        distance_weight, angle_weight: Weights of the two, 0 or more: 25 and 50, as the published tables have them.
    """

    distance_weight: float = 25.0
    angle_weight: float = 50.0

    needs = Needs(student="embedding", teacher="embedding", whole_batch=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_embeddings, teacher_embeddings = vectors(deepest(student)), vectors(deepest(teacher))
        distance_loss = F.smooth_l1_loss(distances(student_embeddings), distances(teacher_embeddings))
        loss = self.distance_weight * distance_loss
        if not self.angle_weight:
            return loss
        count = len(student_embeddings)
        # N³ angles: with large batches some corners at a time, computed again in the backward pass.
        step = max(1, AT_ONCE // count**2)
        parts = []
        for start in range(0, count, step):
            arguments = (student_embeddings, teacher_embeddings, start, min(start + step, count))
            in_memory = step >= count
            parts.append(
                _angle_loss(*arguments) if in_memory else checkpoint(_angle_loss, *arguments, use_reentrant=False)
            )
        return loss + self.angle_weight * torch.stack(parts).sum() / count**3
