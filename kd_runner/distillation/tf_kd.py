"""Teacher-free distillation: from a virtual teacher that is mostly right, or from a network like the student.

Yuan et al. 2020, "Revisiting Knowledge Distillation via Label Smoothing Regularization", arXiv:1909.11723.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kd_runner.notes import note
from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import divergence, precise


@dataclass(frozen=True)
class VirtualTeacher:
    """T² · KL(virtual teacher at T || student at T), mean over the batch (equation 11); logits [N, K], labels [N].

    The virtual teacher gives the label a fixed probability, and the same to each of the other classes.

    Args:
        correct_probability: Probability of the label, above 0 and below 1; the paper has 0.99.
        variant: Form of the virtual teacher. `paper`: softmax(log p / T), as for any teacher. `official`: the authors'
            code, softmax(p / T) with the student at temperature 1 and without T². At T = 20 that is uniform to within
            a twentieth: label smoothing with almost no label. (The code's mean over the classes is in its multiplier.)

    Raises:
        ValueError: a probability not above 0 and below 1.
    """

    correct_probability: float = 0.99
    variant: Literal["paper", "official"] = "paper"

    needs = Needs(labels=True)

    def __post_init__(self) -> None:
        if not 0 < self.correct_probability < 1:
            raise ValueError(f"correct_probability must be above 0 and below 1, got {self.correct_probability:g}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        logits = precise(student.logits)
        right = self.correct_probability
        wrong = (1 - right) / (logits.shape[1] - 1)
        if self.variant == "paper":
            right, wrong = math.log(right), math.log(wrong)
        virtual = torch.full_like(logits, wrong).scatter(1, labels.unsqueeze(1), right)
        if self.variant == "official":
            return divergence(logits, virtual / temperature, 1.0)
        return temperature**2 * divergence(logits, virtual, temperature)


class SelfTraining:
    """T² · KL(teacher || student), mean over the batch (equation 9); logits [N, K].

    The teacher has the student's own architecture and was trained before it.
    """

    needs = Needs(teacher_logits=True)

    def adapt(self, example: AdapterExample) -> None:
        """Leaves a note where the two networks have not the same weights by name and shape."""
        shapes = [
            {name: tuple(value.shape) for name, value in network.state_dict().items()}
            for network in (example.student_network, example.teacher_network)
        ]
        if shapes[0] != shapes[1]:
            note(
                "settings",
                "tf_kd_self means a teacher of the student's own architecture; this one has another, "
                "which makes it distillation=soft",
            )

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return temperature**2 * divergence(student.logits, teacher.logits, temperature)
