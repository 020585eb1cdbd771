"""Function matching: the student imitates its teacher on whatever image both see, without labels.

Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence


@dataclass(frozen=True)
class FunctionMatching:
    """KL(teacher || student) at the temperature, not scaled by it, mean over the batch (section 3); logits [N, K].

    The other half of the recipe is in the images: both networks see the same crop and the same mixture. kd-runner
    always does that; add `dataset.mixup=1` and a long schedule, as the paper does.
    """

    needs = Needs(teacher_logits=True, several_labels="pairs")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return divergence(student.logits, teacher.logits, temperature)
