"""Label smoothing: the student learns from labels that give every other class a little.

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7, arXiv:1512.00567.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise


@dataclass(frozen=True)
class LabelSmoothing:
    """CE(student, (1 − smoothing) · one-hot + smoothing / K), mean over the batch; logits [N, K], labels [N].

    The teacher plays no part: a mode to compare real teachers with. It replaces the label loss, so `label_weight` is 0.

    Args:
        smoothing: Share of the label that all K classes divide, 0 or more and below 1.

    Raises:
        ValueError: `smoothing` outside its range.
    """

    smoothing: float = 0.1

    needs = Needs(labels=True)

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must be 0 or more and below 1, got {self.smoothing:g}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return F.cross_entropy(precise(student.logits), labels, label_smoothing=self.smoothing)
