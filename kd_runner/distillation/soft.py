"""Soft targets: the student matches the teacher's softened probabilities.

Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence, mean_kl, precise


def soft_divergence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    direction: Literal["forward", "reverse", "jensen_shannon"] = "forward",
) -> Tensor:
    """Divergence of the two softened distributions, in nats, mean over the batch, not scaled by the temperature.

    Args:
        student_logits, teacher_logits: [N, K], unnormalised.
        temperature: Softmax temperature, positive; 1 leaves the distributions as they are.
        direction: `forward` is KL(teacher || student), the one that distillation means; `reverse` is
            KL(student || teacher); `jensen_shannon` is the mean of both against their mixture, at most ln 2.
    """
    if direction == "forward":
        return divergence(student_logits, teacher_logits, temperature)
    if direction == "reverse":
        return divergence(teacher_logits, student_logits, temperature)
    student = F.log_softmax(precise(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(precise(teacher_logits) / temperature, dim=1)
    mixture = torch.logaddexp(student, teacher) - torch.log(torch.tensor(2.0))
    return 0.5 * (mean_kl(mixture, teacher) + mean_kl(mixture, student))


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """−Σ_k p_teacher · log p_student at `temperature`, mean over the batch; logits [N, K]."""
    teacher = F.softmax(precise(teacher_logits) / temperature, dim=1)
    student = F.log_softmax(precise(student_logits) / temperature, dim=1)
    return -(teacher * student).sum(1).mean()


@dataclass(frozen=True)
class Soft:
    """T² · KL(teacher || student) at the temperature T, mean over the batch; logits [N, K].

    Args:
        direction: Direction of the divergence: `forward`, `reverse` or `jensen_shannon`, see `soft_divergence`.
        form: `divergence`, or `cross_entropy`, which adds the teacher's entropy, a constant: the gradient is that of
            the forward divergence.
        temperature_squared: True multiplies by T², which keeps gradients the same size at every temperature (section 2
            of the paper).

    Raises:
        ValueError: `form=cross_entropy` with a direction other than forward.
    """

    needs = Needs(teacher_logits=True, several_labels="pairs")

    direction: Literal["forward", "reverse", "jensen_shannon"] = "forward"
    form: Literal["divergence", "cross_entropy"] = "divergence"
    temperature_squared: bool = True

    def __post_init__(self) -> None:
        if self.form == "cross_entropy" and self.direction != "forward":
            raise ValueError(f"form=cross_entropy needs direction=forward, got direction={self.direction}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        if self.form == "cross_entropy":
            loss = soft_cross_entropy(student.logits, teacher.logits, temperature)
        else:
            loss = soft_divergence(student.logits, teacher.logits, temperature, self.direction)
        return loss * temperature**2 if self.temperature_squared else loss
