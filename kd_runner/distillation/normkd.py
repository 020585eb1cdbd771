"""Normalised logits: each image has a temperature of its own, from the deviation of its logits.

Chi et al. 2023, "NormKD: Normalized Logits for Knowledge Distillation", arXiv:2308.00520.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import SAME_NUMBERS, kl_of_images, precise, standardize


@dataclass(frozen=True)
class NormKD:
    """Mean over the batch of (T · σ_t)² · KL(teacher at T · σ_t || student at T · σ_s); logits [N, K].

    σ_t and σ_s are the deviations of the image's logits in teacher and student, T is the run's temperature, T_norm of
    the paper. `logit_standardization` is the same without σ_t²: here, an image counts as much as its teacher's logits
    are spread.
    """

    needs = Needs(teacher_logits=True)

    def adapt(self, example: AdapterExample) -> None:
        """Raises ValueError where there are two classes."""
        if example.teacher.logits.shape[1] < 3:
            raise ValueError(f"must have three classes or more, got two, {SAME_NUMBERS}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        # A softmax does not see the mean that `standardize` subtracts.
        divergences = kl_of_images(
            F.log_softmax(standardize(student.logits) / temperature, dim=1),
            F.log_softmax(standardize(teacher.logits) / temperature, dim=1),
        )
        variances = precise(teacher.logits).var(1)
        return temperature**2 * (variances * divergences).mean()
