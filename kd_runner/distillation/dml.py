"""Deep mutual learning: students without a teacher learn from labels and from one another.

Zhang, Xiang, Hospedales, Lu 2018, "Deep Mutual Learning", arXiv:1706.00384.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence


@dataclass(frozen=True)
class DML:
    """Mean over the other peers of T² · KL(other || student), mean over the batch (equations 5 to 7); logits [N, K].

    The peers are the setting `peers`. The paper's temperature is 1, and the others' logits have no gradient.
    """

    needs = Needs(teacher_logits=True, peers=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        peers = (teacher, *teacher.others)
        losses = [divergence(student.logits, peer.logits, temperature) for peer in peers]
        return temperature**2 * torch.stack(losses).mean()
