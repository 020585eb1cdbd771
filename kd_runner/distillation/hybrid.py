"""Soft and hard targets, mixed by one number: the share of the soft ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence, one_hot, precise


@dataclass(frozen=True)
class Hybrid:
    """soft_share · T² · KL(teacher || student) + (1 − soft_share) · CE(student, hard target), mean over the batch.

    Logits are [N, K], labels [N].

    Args:
        soft_share: Share of the soft targets, from 0 (hard targets only) to 1 (soft targets only).
        hard_source: Hard target: `ground_truth`, the label, or `teacher_argmax`, the class that the teacher predicts.
        form: `loss_mix`, as above, or `target_mix`, the cross-entropy with mixed targets
            soft_share · p_teacher + (1 − soft_share) · one-hot. At T = 1 both have the same gradient. At other
            temperatures the mix softens the teacher only, because one distribution of the student meets both targets.

    Raises:
        ValueError: `soft_share` outside 0 to 1.
    """

    needs = Needs(labels=True, teacher_logits=True)

    soft_share: float = 0.9
    hard_source: Literal["ground_truth", "teacher_argmax"] = "ground_truth"
    form: Literal["loss_mix", "target_mix"] = "loss_mix"

    def __post_init__(self) -> None:
        if not 0 <= self.soft_share <= 1:
            raise ValueError(f"soft_share must be between 0 and 1, got {self.soft_share:g}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_logits, teacher_logits = precise(student.logits), precise(teacher.logits)
        hard = labels if self.hard_source == "ground_truth" else teacher_logits.argmax(1)
        if self.form == "target_mix":
            soft_targets = F.softmax(teacher_logits / temperature, dim=1)
            hard_targets = one_hot(hard, soft_targets)
            return F.cross_entropy(
                student_logits, self.soft_share * soft_targets + (1 - self.soft_share) * hard_targets
            )
        soft = divergence(student_logits, teacher_logits, temperature)
        hard_loss = F.cross_entropy(student_logits, hard)
        return self.soft_share * temperature**2 * soft + (1 - self.soft_share) * hard_loss
