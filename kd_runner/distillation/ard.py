"""Adversarially robust distillation: on attacked images, the student learns what its teacher says of them as they are.

Goldblum et al. 2020, "Adversarially Robust Distillation" (AAAI 2020), arXiv:1905.09747.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence


@dataclass(frozen=True)
class ARD:
    """T² · KL(teacher on images as they are || student on attacked images), mean over the batch; logits [N, K].

    The label loss, (1 − α) of the paper, is that of the images as they are. In the authors' experiments it is left out,
    and the attack raises the label loss of the student (`adversarial.objective=labels`).
    """

    needs = Needs(teacher_logits=True, attacked=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return temperature**2 * divergence(student.logits, teacher.logits, temperature)
