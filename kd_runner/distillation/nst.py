"""Neuron selectivity transfer: the channels' patterns have the same distribution in student and teacher.

Huang and Wang 2017, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", arXiv:1707.01219.
"""

from __future__ import annotations

from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import same_size, unit


def kernel_mean(first: Tensor, second: Tensor) -> Tensor:
    """Mean over images and pairs of channels of (x · y)², for unit patterns [N, C, H·W]."""
    return (first @ second.transpose(1, 2)).square().mean()


class NST:
    """Squared maximum mean discrepancy with the kernel (x · y)² of the channels' maps, summed over the layers.

    Each channel's map is scaled to length 1 (equations 3 to 6).
    """

    needs = Needs(student="stages", teacher="stages", maps=True)

    def adapt(self, example: AdapterExample) -> None:
        """Raises ValueError where the networks have not equally many layers."""
        example.pairs()

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for pair in map_pairs(student, teacher):
            ours, theirs = (unit(each.flatten(2), dim=2) for each in same_size(*pair))
            loss = loss + kernel_mean(theirs, theirs) + kernel_mean(ours, ours) - 2 * kernel_mean(ours, theirs)
        return loss
