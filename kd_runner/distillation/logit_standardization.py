"""Logit standardization: soft targets from logits of zero mean and unit deviation, whose range is free.

Sun et al. 2024, "Logit Standardization in Knowledge Distillation", arXiv:2403.01427.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import SAME_NUMBERS, divergence, standardize


@dataclass(frozen=True)
class LogitStandardization:
    """T² · KL(teacher || student) of standardized logits [N, K], mean over the batch (algorithm 1).

    The student's logits may have any range, so its probabilities need calibration before they are used. Other modes
    take standardized logits with `distillation.standardize=true`.
    """

    needs = Needs(teacher_logits=True)

    def adapt(self, example: AdapterExample) -> None:
        """Raises ValueError where there are two classes."""
        if example.teacher.logits.shape[1] < 3:
            raise ValueError(f"must have three classes or more, got two, {SAME_NUMBERS}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return temperature**2 * divergence(standardize(student.logits), standardize(teacher.logits), temperature)
