"""Neuron selectivity transfer: the channels' patterns have the same distribution in student and teacher.

Huang and Wang 2017, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", arXiv:1707.01219.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import same_size, unit


def kernel_mean(first: Tensor, second: Tensor) -> Tensor:
    """Mean over images and pairs of channels of (x · y)², of patterns x and y [N, C, H·W] of length 1."""
    return (first @ second.transpose(1, 2)).square().mean()


class NST:
    """Σ over the layers of the squared maximum mean discrepancy of the channels' maps, with the kernel (x · y)².

    That is k(teacher, teacher) + k(student, student) − 2 · k(student, teacher), k the mean of the kernel over all pairs
    of channels. Layers are [N, C, H, W]; each channel's map is scaled to length 1 (equations 3 to 6).
    """

    needs = Needs(student="stages", teacher="stages", maps=True)

    def adapt(self, example: AdapterExample) -> None:
        """Raises ValueError where the networks have not equally many layers."""
        example.pairs()

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for pair in map_pairs(student, teacher):
            x, y = (unit(maps.flatten(2), dim=2) for maps in same_size(*pair))  # of the student, of the teacher
            loss = loss + kernel_mean(y, y) + kernel_mean(x, x) - 2 * kernel_mean(x, y)
        return loss
