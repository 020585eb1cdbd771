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

AT_ONCE = 2**24  # angles that are kept for the backward pass at once


def distances(embeddings: Tensor) -> Tensor:
    """[N, N]: Euclidean distances, over the mean of those that are not 0 (equations 5 and 6)."""
    # Distances are the same from anywhere and in any unit, and squares of differences need all digits there are.
    embeddings = embeddings - embeddings.detach().mean(0)
    embeddings = embeddings * inverse(embeddings.detach().abs().amax())
    squared = embeddings.square().sum(1)
    products = squared[:, None] + squared[None, :] - 2 * embeddings @ embeddings.t()
    off_diagonal = 1 - torch.eye(len(embeddings), dtype=embeddings.dtype, device=embeddings.device)
    roots = products.clamp_min(1e-12).sqrt() * off_diagonal
    return roots / (roots.sum() / (roots > 0).sum().clamp_min(1)).clamp_min(1e-12)


def cosines(embeddings: Tensor, corners: Tensor) -> Tensor:
    """[corners, N, N]: cosines of the angles at each of `corners` [M, D] between any two embeddings (equation 8)."""
    directions = unit(embeddings[None, :] - corners[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def _angle_loss(student: Tensor, teacher: Tensor, start: int, end: int) -> Tensor:
    ours, theirs = cosines(student, student[start:end]), cosines(teacher, teacher[start:end])
    return F.smooth_l1_loss(ours, theirs, reduction="sum")


@dataclass(frozen=True)
class RKD:
    """distance_weight · Huber loss of the distances + angle_weight · Huber loss of the angles' cosines.

    Args:
        distance_weight, angle_weight: 25 and 50, as the published tables have them.
    """

    distance_weight: float = 25.0
    angle_weight: float = 50.0

    needs = Needs(student="embedding", teacher="embedding")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        ours, theirs = vectors(deepest(student)), vectors(deepest(teacher))
        loss = self.distance_weight * F.smooth_l1_loss(distances(ours), distances(theirs))
        if not self.angle_weight:
            return loss
        count = len(ours)
        # N³ angles: with large batches some corners at a time, computed again in the backward pass.
        step = max(1, AT_ONCE // count**2)
        parts = []
        for start in range(0, count, step):
            arguments = (ours, theirs, start, min(start + step, count))
            whole = step >= count
            parts.append(_angle_loss(*arguments) if whole else checkpoint(_angle_loss, *arguments, use_reentrant=False))
        return loss + self.angle_weight * torch.stack(parts).sum() / count**3
