"""Similarity preserving: images that look alike to the teacher should look alike to the student.

Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import Needs, Outputs, deepest
from kd_runner.tensors import unit


def similarities(features: Tensor) -> Tensor:
    """[N, N]: inner products of the flattened features [N, …], each row scaled to length 1 (equation 1)."""
    flat = features.flatten(1)
    return unit(flat @ flat.t())


class SP:
    """Mean over all pairs of images of (similarity in the student − similarity in the teacher)² (equation 4).

    Features are the last layers; the two networks may differ in channels and size.
    """

    needs = Needs(student="map", teacher="map", whole_batch=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return (similarities(deepest(student)) - similarities(deepest(teacher))).square().mean()
