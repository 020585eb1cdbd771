"""Probabilistic knowledge transfer: images are neighbours with the same probability in student and teacher.

Passalis and Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge Transfer", arXiv:1803.10837.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import Needs, Outputs, deepest
from kd_runner.tensors import unit, vectors


def neighbours(embeddings: Tensor) -> Tensor:
    """[N, N]: the probability that image j is a neighbour of image i, from the cosine of embeddings [N, C].

    Cosines are mapped to 0 to 1, and each row is divided by its sum (equation 6).
    """
    directions = unit(embeddings)
    similar = (directions @ directions.t() + 1) / 2
    return similar / similar.sum(1, keepdim=True)


class PKT:
    """Mean over all pairs of images of p_teacher · log(p_teacher / p_student), p that they are neighbours (equation 8).

    Embeddings are the last layers, as vectors [N, C]; the two networks may differ in C.
    """

    needs = Needs(student="embedding", teacher="embedding", whole_batch=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        p_student, p_teacher = (neighbours(vectors(deepest(outputs))) for outputs in (student, teacher))
        return (p_teacher * ((p_teacher + 1e-7) / (p_student + 1e-7)).log()).mean()
