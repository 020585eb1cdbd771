"""Singular vectors: how the leading pattern of one layer's channels relates to that of the next layer.

Lee, Kim and Song 2018, "Self-supervised Knowledge Distillation Using Singular Value Decomposition" (ECCV 2018),
arXiv:1807.06819.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import SILENT, inverse, unit

WIDTH = 8  # of the radial basis function, as in the authors' code


def leading_vectors(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(right singular vectors [N, C, count], singular values [N, count]) of maps [N, C, H, W] as pixels by channels.

    The largest come first; there are fewer where an image has fewer pixels or channels. The gradient leaves out pairs
    of vectors whose singular values are equal: between these, the vectors are free to turn.
    """
    rows = features.flatten(2)  # [N, C, pixels]
    if rows.shape[1] <= rows.shape[2]:
        vectors, squares = _eigenvectors(rows @ rows.transpose(1, 2), count)
    else:
        left_vectors, squares = _eigenvectors(rows.transpose(1, 2) @ rows, count)
        vectors = unit(rows @ left_vectors)
    return vectors, squares.clamp_min(0).sqrt()


def _eigenvectors(gram: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(eigenvectors [N, M, count], eigenvalues [N, count]) of symmetric matrices [N, M, M], the largest first.

    Eigenvalues have no gradient. torch's own gradient of the vectors has a part for every pair of all of them, and is
    not finite where two of the many that are near 0 are equal.
    """
    still = gram.detach()
    # Numbers that are not finite would end the run with an error of the decomposition, not of the loss.
    values, vectors = torch.linalg.eigh(torch.where(still.isfinite(), still, 0.0))
    values, vectors = values.flip(1), vectors.flip(2)
    leading, chosen = values[:, :count], vectors[:, :, :count]
    # First-order perturbation: v_i moves by Σ_j v_j (v_jᵀ dG v_i) / (λ_i − λ_j). The difference is 0, its gradient not.
    gaps = leading.unsqueeze(1) - values.unsqueeze(2)
    shares = gaps.sign() * inverse(gaps.abs(), SILENT * values[:, :1].abs().unsqueeze(2))
    return chosen + vectors @ (vectors.transpose(1, 2) @ (gram - still) @ chosen * shares), leading


def nearest_vectors(student: Tensor, teacher: Tensor) -> Tensor:
    """[N, C, K]: for each teacher's vector the student's, of [N, C, M], with the largest |cosine|, turned to it."""
    cosines = student.transpose(1, 2) @ teacher
    nearest = cosines.abs() == cosines.abs().amax(1, keepdim=True)
    return student @ (nearest * cosines.sign())


def relations(first: Tensor, second: Tensor) -> Tensor:
    """[N, C1, C2, K]: radial basis function of every two numbers of vectors [N, C1, K] and [N, C2, K] (equation 4)."""
    return (-(first.unsqueeze(2) - second.unsqueeze(1)).square() / WIDTH).exp()


class KDSVD(nn.Module):
    """Mean over images of Σ over neighbouring layers of Σ (relations of the student − relations of the teacher)².

    A layer [N, C, H, W] becomes its leading singular vectors over the channels, weighted by the teacher's singular
    values, which are scaled to length 1 first. The student has one candidate more, the nearest are taken. Where widths
    differ, a 1x1 convolution brings the student's layer to the teacher's. A teacher's vector has a positive sum: signs
    are free, and the relation of two layers depends on them.

    On a GPU, each step waits for the decomposition, which is slow: 61 times a step of `soft` on an H100.

    Args:
        vectors: Number of vectors of a layer, 1 or more; 1 in the paper.

    Raises:
        ValueError: a number below 1.
    """

    # It waits for the decomposition, so that its steps cannot be repeated as one graph.
    needs = Needs(student="stages", teacher="stages", varies=True)

    def __init__(self, vectors: int = 1) -> None:
        super().__init__()
        if vectors < 1:
            raise ValueError(f"vectors must be 1 or more, got {vectors}")
        self.vectors = vectors

    def adapt(self, example: AdapterExample) -> None:
        """Builds the 1x1 convolutions.

        Raises:
            ValueError: a network has fewer than two layers, or not as many as the other.
        """
        self.adapters = example.width_adapters(least=2)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        pairs = zip(self.adapters, map_pairs(student, teacher), strict=True)
        layers = [self._vectors(adapter(layer), target) for adapter, (layer, target) in pairs]
        loss = student.logits.new_zeros(())
        for (student_first, teacher_first), (student_second, teacher_second) in itertools.pairwise(layers):
            count = min(teacher_first.shape[2], teacher_second.shape[2])
            teacher_relations = relations(teacher_first[..., :count], teacher_second[..., :count])
            student_relations = relations(student_first[..., :count], student_second[..., :count])
            loss = loss + (student_relations - teacher_relations).square().sum() / len(student_relations)
        return loss

    def _vectors(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """(student's, teacher's) weighted vectors, each [N, C, K]."""
        teacher_vectors, values = leading_vectors(teacher, self.vectors)
        teacher_vectors = teacher_vectors * torch.where(teacher_vectors.sum(1, keepdim=True) < 0, -1.0, 1.0)
        weights = unit(values).unsqueeze(1)
        student_vectors, _ = leading_vectors(student, self.vectors + 1)
        return nearest_vectors(student_vectors, teacher_vectors) * weights, teacher_vectors * weights
