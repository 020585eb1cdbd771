"""Function matching: the student imitates its teacher on whatever image both see, without labels.

Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs


@dataclass(frozen=True)
class FunctionMatching:
    """KL(teacher || student) at the temperature, not scaled by it (section 3).

    The other half of the recipe is in the views: both networks see the same crop and the same mixture, which
    kd-runner always does; add `dataset.mixup=1` and a long schedule, as the paper does.
    """

    needs = Needs(teacher_logits=True)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return F.kl_div(
            F.log_softmax(student.logits.float() / temperature, dim=1),
            F.log_softmax(teacher.logits.float() / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )
