"""A discriminator tells the student's logits from its teacher's, and the student learns to be taken for the teacher.

Xu, Hsu and Huang 2018, "Training Shallow and Thin Networks for Acceleration via Knowledge Distillation with
Conditional Adversarial Networks", arXiv:1709.00513.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import precise


class LogitDiscriminator(nn.Module):
    """Adversarial loss of logits [N, K], mean over the batch, with a discriminator that trains beside the student.

    The discriminator has a score for 'these are the teacher's logits' and K scores for the classes. It learns
    −½ (log p(teacher's | teacher) + log p(not | student)), and the class of both. At the same time the student learns
    −log p(teacher's | student) + class_weight · the discriminator's label loss for its logits + l1_weight · mean
    |student − teacher|. Both take one step a batch, together: the student's part does not move the discriminator, and
    the discriminator's does not move the student.

    Args:
        hidden: Units of each of its two hidden layers, 1 or more.
        class_weight: Weight of the discriminator's classes in the student's loss, 0 or more.
        l1_weight: Weight of the distance of the logits, 0 or more.

    Raises:
        ValueError: a number outside its range.
    """

    needs = Needs(labels=True, teacher_logits=True)

    def __init__(self, hidden: int = 64, class_weight: float = 1.0, l1_weight: float = 10.0) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {hidden}")
        for name, weight in (("class_weight", class_weight), ("l1_weight", l1_weight)):
            if weight < 0:
                raise ValueError(f"{name} must be 0 or more, got {weight:g}")
        self.hidden, self.class_weight, self.l1_weight = hidden, class_weight, l1_weight

    def adapt(self, example: AdapterExample) -> None:
        """Builds the discriminator."""
        classes = example.student.logits.shape[1]
        self.discriminator = nn.Sequential(
            nn.Linear(classes, self.hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(self.hidden, self.hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(self.hidden, 1 + classes),
        )

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_logits, teacher_logits = precise(student.logits), precise(teacher.logits).detach()
        return self.discriminator_loss(student_logits.detach(), teacher_logits, labels) + self.student_loss(
            student_logits, teacher_logits, labels
        )

    def discriminator_loss(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """The discriminator's loss, from logits without gradient."""
        of_teacher, of_student = self.discriminator(teacher_logits), self.discriminator(student_logits)
        recognised = F.softplus(-of_teacher[:, 0]).mean() + F.softplus(of_student[:, 0]).mean()
        classes = F.cross_entropy(of_teacher[:, 1:], labels) + F.cross_entropy(of_student[:, 1:], labels)
        return 0.5 * (recognised + classes)

    def student_loss(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """The student's loss, for the discriminator as it is."""
        weights = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        scores: Tensor = functional_call(self.discriminator, weights, (student_logits,))
        taken = F.softplus(-scores[:, 0]).mean()
        classes = F.cross_entropy(scores[:, 1:], labels)
        distance = (student_logits - teacher_logits).abs().mean()
        return taken + self.class_weight * classes + self.l1_weight * distance
