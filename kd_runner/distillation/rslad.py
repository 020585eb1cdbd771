"""Robust soft labels: the teacher's answer to the image as it is, for the image and for its attacked form.

Zi et al. 2021, "Revisiting Adversarial Robustness Distillation: Robust Soft Labels Make Student Better" (ICCV 2021),
arXiv:2108.07969.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence


@dataclass(frozen=True)
class RSLAD:
    """T² · (share · KL(teacher || student on attacked images) + (1 − share) · KL(teacher || student on the images)).

    The mean over the batch of logits [N, K]. The teacher sees the images as they are. There is no label loss, and the
    attack raises the first divergence, at temperature 1 (`adversarial.objective=teacher`). The paper's T is 1.

    Args:
        attacked_share: The share of the attacked images, 0 to 1: α of the paper, 5/6 there.

    Raises:
        ValueError: a share outside 0 to 1.
    """

    needs = Needs(teacher_logits=True, attacked=True, clean_view=True)

    attacked_share: float = 5 / 6

    def __post_init__(self) -> None:
        if not 0 <= self.attacked_share <= 1:
            raise ValueError(f"attacked_share must be between 0 and 1, got {self.attacked_share:g}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        clean = student if student.clean is None else student.clean  # before training, one stands for both
        attacked_loss = divergence(student.logits, teacher.logits, temperature)
        clean_loss = divergence(clean.logits, teacher.logits, temperature)
        return temperature**2 * (self.attacked_share * attacked_loss + (1 - self.attacked_share) * clean_loss)
