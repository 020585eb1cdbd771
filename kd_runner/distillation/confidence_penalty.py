"""Confidence penalty: the student is rewarded for the entropy of its predictions.

Pereyra et al. 2017, "Regularizing Neural Networks by Penalizing Confident Output Distributions", arXiv:1701.06548.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise


@dataclass(frozen=True)
class ConfidencePenalty:
    """−H(student), the entropy H in nats, mean over the batch; logits [N, K]. The teacher plays no part.

    A larger weight gives a larger entropy.

    Args:
        threshold: Entropy in nats, above 0: only lower entropies are penalised, by max(0, threshold − H)
            (section 3.2). None penalises all.

    Raises:
        ValueError: a threshold of 0 or less.
    """

    threshold: float | None = None

    needs = Needs(several_labels="pairs")

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold <= 0:
            raise ValueError(f"threshold must be above 0, or null, got {self.threshold:g}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        log_probabilities = F.log_softmax(precise(student.logits), dim=1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
        if self.threshold is None:
            return -entropy.mean()
        return (self.threshold - entropy).clamp_min(0).mean()
