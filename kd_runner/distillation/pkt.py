"""Probabilistic knowledge transfer: how likely images are neighbours, to the student as to the teacher.

Passalis and Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge Transfer", arXiv:1803.10837.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import Needs, Outputs, deepest
from kd_runner.tensors import unit, vectors


def neighbours(embeddings: Tensor) -> Tensor:
    """[N, N]: probabilities that each image is a neighbour of each, from cosines mapped to [0, 1] (equation 6)."""
    directions = unit(embeddings)
    similar = (directions @ directions.t() + 1) / 2
    return similar / similar.sum(1, keepdim=True)


class PKT:
    """Σ p_teacher · log(p_teacher / p_student) over neighbours, mean over all pairs of images (equation 8)."""

    needs = Needs(student="embedding", teacher="embedding")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        ours, theirs = (neighbours(vectors(deepest(each))) for each in (student, teacher))
        return (theirs * ((theirs + 1e-7) / (ours + 1e-7)).log()).mean()
