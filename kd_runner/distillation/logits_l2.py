"""Logit matching: squared distance between the student's and the teacher's logits.

Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", arXiv:1312.6184; the limit of T²·KL at high
temperature is this loss on centred logits, halved (Hinton et al. 2015, section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import precise


@dataclass(frozen=True)
class LogitsL2:
    """Mean over the batch of (student's logits − teacher's logits)², logits [N, K].

    Args:
        reduction: Reduction over the K classes: their `mean`, or their `sum`, which is K times as large.
        center: True subtracts each row's mean first. A softmax cannot tell shifted logits apart, so with `center`
            neither does the loss. The paper has False.
    """

    needs = Needs(teacher_logits=True, several_labels="logits")

    reduction: Literal["mean", "sum"] = "mean"
    center: bool = False

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        difference = precise(student.logits) - precise(teacher.logits)
        if self.center:
            difference = difference - difference.mean(1, keepdim=True)
        squared = difference.square()
        return (squared.mean(1) if self.reduction == "mean" else squared.sum(1)).mean()
