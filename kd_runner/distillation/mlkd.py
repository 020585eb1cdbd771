"""Multi-level logit distillation: images, batches and classes, at several temperatures, on a weak and a strong view.

Jin, Wang and Lin 2023, "Multi-Level Logit Distillation" (CVPR 2023, pages 24276 to 24285).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import mean_kl, precise


@dataclass(frozen=True)
class MLKD:
    """Σ over views and temperatures T of T² · KL + batch_weight · batch distance + class_weight · class distance.

    With P [N, K] the probabilities at a temperature, the batch distance is ‖P_s P_sᵀ − P_t P_tᵀ‖² / N and the class
    distance ‖P_sᵀ P_s − P_tᵀ P_t‖² / K (equations 4 to 8). All three count on both views; the published code computes
    the distances of the strong view and drops them. The label loss, too, is that of both views.

    Args:
        scales: Factors of the run's temperature, each above 0: with temperature 4, temperatures of 2 to 6 as in the
            paper.
        batch_weight, class_weight: Weights of the two distances, 0 or more.

    Raises:
        ValueError: no scale, or one of 0 or less.
    """

    scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5)
    batch_weight: float = 1.0
    class_weight: float = 1.0

    needs = Needs(teacher_logits=True, strong_view=True, whole_batch=True)

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must hold numbers above 0, got {list(self.scales)}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        assert student.strong is not None
        assert teacher.strong is not None
        loss = student.logits.new_zeros((), dtype=precise(student.logits).dtype)
        for student_view, teacher_view in ((student, teacher), (student.strong, teacher.strong)):
            for scale in self.scales:
                logits, targets = precise(student_view.logits), precise(teacher_view.logits)
                loss = loss + self._loss_at(logits, targets, scale * temperature)
        return loss

    def _loss_at(self, logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
        """The three terms of one view at one temperature."""
        student_logs = F.log_softmax(logits / temperature, dim=1)
        teacher_logs = F.log_softmax(targets / temperature, dim=1)
        images = temperature**2 * mean_kl(student_logs, teacher_logs)
        student, teacher = student_logs.exp(), teacher_logs.exp()
        batch = (student @ student.t() - teacher @ teacher.t()).square().sum() / len(student)
        classes = (student.t() @ student - teacher.t() @ teacher).square().sum() / student.shape[1]
        return images + self.batch_weight * batch + self.class_weight * classes
