"""Distillation token: a second token of a vision transformer learns from the teacher, the first from the labels.

Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention" (ICML 2021),
arXiv:2012.12877.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import divergence


class DeiT:
    """(1 − share) · CE(logits of the class token, labels) + share · loss of the logits of the distillation token.

    That loss is CE with the class that the teacher predicts (hard, equation 3), or T² · KL(teacher || token's head) at
    the temperature T (soft, equation 2). The student's logits, which are evaluated and saved, are the mean of the two
    heads: a network that has them gives it by itself, such as `student=vit`, or timm's deit_…_distilled_….

    Args:
        variant: "hard" or "soft".
        share: Share of the teacher's part, in [0, 1]; the paper has 0.5 for hard and 0.1 for soft.

    Raises:
        ValueError: another variant, or a share outside its range.
    """

    needs = Needs(student="heads", labels=True, teacher_logits=True)

    def __init__(self, variant: Literal["hard", "soft"] = "hard", share: float = 0.5) -> None:
        if variant not in ("hard", "soft"):
            raise ValueError(f"variant must be hard or soft, got {variant}")
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share:g}")
        self.variant, self.share = variant, share

    def adapt(self, example: AdapterExample) -> None:
        """Raises ValueError where the layers are not two heads [N, K]."""
        shapes = [tuple(feature.shape) for feature in example.student.features.values()]
        if len(shapes) != 2 or any(shape != tuple(example.student.logits.shape) for shape in shapes):
            sizes = [list(shape[1:]) for shape in shapes]
            raise ValueError(
                f"must have two layers of the student, the class token's head and the distillation token's, each with "
                f"as many outputs as there are classes, got layers of {sizes}"
            )

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        of_class, of_token = student.features.values()
        learned = (
            F.cross_entropy(of_token, teacher.logits.argmax(1))
            if self.variant == "hard"
            else temperature**2 * divergence(of_token, teacher.logits, temperature)
        )
        return (1 - self.share) * F.cross_entropy(of_class, labels) + self.share * learned
