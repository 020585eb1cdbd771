"""OFA-KD: exits behind the student's stages learn from the teacher's logits, whatever the two architectures.

Hao et al. 2023, "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation",
arXiv:2310.19444.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import maps, one_hot, precise


def adapted_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, epsilon: float
) -> Tensor:
    """−Σ_c ((p_teacher + 1_label)^ε − 1_label) · log p_student, mean over the batch (equation 6).

    Args:
        student_logits, teacher_logits: [N, K], unnormalised.
        labels: int64 [N].
        temperature: Softmax temperature of both, positive.
        epsilon: 1 is soft cross-entropy; above it the label counts more and the other classes less.
    """
    probabilities = F.softmax(precise(teacher_logits) / temperature, dim=1)
    label = one_hot(labels, probabilities)
    targets = (probabilities + label).pow(epsilon) - label
    return -(targets * F.log_softmax(precise(student_logits) / temperature, dim=1)).sum(1).mean()


class OFA(nn.Module):
    """Adapted cross-entropy of the logits + Σ over the stages of that of an exit behind the stage (equation 6).

    Stages are [N, C, H, W]. An exit is a depthwise separable convolution that halves the maps, an average over them and
    a dense layer to K logits.

    Args:
        epsilon: ε for the logits, above 0: 1 to 2; 1 is soft cross-entropy.
        exit_epsilon: ε for the exits, above 0.

    Raises:
        ValueError: an epsilon of 0 or less.
    """

    needs = Needs(student="stages", labels=True, teacher_logits=True)

    def __init__(self, epsilon: float = 1.0, exit_epsilon: float = 1.5) -> None:
        super().__init__()
        if epsilon <= 0 or exit_epsilon <= 0:
            raise ValueError(f"epsilon and exit_epsilon must be above 0, got {epsilon:g} and {exit_epsilon:g}")
        self.epsilon, self.exit_epsilon = epsilon, exit_epsilon

    def adapt(self, example: AdapterExample) -> None:
        """Builds the exits."""
        classes = example.teacher.logits.shape[1]
        self.exits = nn.ModuleList(_exit(maps(feature), classes) for feature in example.student.features.values())

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = adapted_cross_entropy(student.logits, teacher.logits, labels, temperature, self.epsilon)
        for leave, feature in zip(self.exits, student.features.values(), strict=True):
            logits = leave(maps(feature))
            loss = loss + adapted_cross_entropy(logits, teacher.logits, labels, temperature, self.exit_epsilon)
        return loss


def _exit(feature: Tensor, classes: int) -> nn.Sequential:
    width, stride = feature.shape[1], 2 if min(feature.shape[2:]) > 1 else 1
    return nn.Sequential(
        nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )
