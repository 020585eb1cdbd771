"""Attention transfer: student and teacher look at the same places.

Zagoruyko and Komodakis 2017, "Paying More Attention to Attention: Improving the Performance of Convolutional Neural
Networks via Attention Transfer", arXiv:1612.03928.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs, image_range, map_pairs
from kd_runner.tensors import same_size, unit


def attention(maps: Tensor, power: int) -> Tensor:
    """[N, H·W]: the mean over the channels of |maps| to a power, each image's of length 1.

    An image's numbers are brought to 1 first: a power of small ones would be nothing.
    """
    return unit(image_range(maps).abs().pow(power).mean(1).flatten(1))


class AT:
    """Mean squared difference of the attention maps, summed over the layers (equation 2, squared).

    Args:
        power: p of the paper.

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
        for ours, theirs in map_pairs(student, teacher):
            ours, theirs = same_size(ours, theirs)
            loss = loss + (attention(ours, self.power) - attention(theirs, self.power)).square().mean()
        return loss
