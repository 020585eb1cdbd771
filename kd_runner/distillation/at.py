"""Attention transfer: student and teacher look at the same places.

Zagoruyko and Komodakis 2017, "Paying More Attention to Attention: Improving the Performance of Convolutional Neural
Networks via Attention Transfer", arXiv:1612.03928.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs, image_range, map_pairs
from kd_runner.tensors import same_size, unit


def attention(maps: Tensor, power: int) -> Tensor:
    """[N, H·W]: the mean over the channels of |maps|^power, maps [N, C, H, W], scaled to length 1 for each image.

    First each image's largest number is scaled to 1: a power of small numbers would be 0.
    """
    return unit(image_range(maps).abs().pow(power).mean(1).flatten(1))


class AT:
    """Σ over the layers of mean (attention of the student − attention of the teacher)² (equation 2, squared).

    Layers are maps [N, C, H, W], the larger averaged down to the smaller.

    Args:
        power: p of the paper, 1 or more; 2 by default.

    Raises:
        ValueError: a power below 1.
    """

    needs = Needs(student="stages", teacher="stages", maps=True)

    def __init__(self, power: int = 2) -> None:
        if power < 1:
            raise ValueError(f"power must be 1 or more, got {power}")
        self.power = power

    def adapt(self, example: AdapterExample) -> None:
        """Raises ValueError where the networks have not equally many layers, or maps of one pixel alone."""
        if all(min(student.shape[2:].numel(), teacher.shape[2:].numel()) == 1 for student, teacher in example.pairs()):
            raise ValueError("must have a layer whose maps have more than one pixel, all have one")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for pair in map_pairs(student, teacher):
            student_attention, teacher_attention = (attention(maps, self.power) for maps in same_size(*pair))
            loss = loss + (student_attention - teacher_attention).square().mean()
        return loss
