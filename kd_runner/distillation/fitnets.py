"""FitNets: a layer of the student, through a regressor, meets a layer of the teacher (the hint).

Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import same_size


class FitNets(nn.Module):
    """Mean squared distance of regressor(student's layer) and the teacher's, summed over the layers (equation 3).

    The regressor is a convolution that brings channels and size to the teacher's, with batch norm, and a ReLU where the
    teacher's layer ends in one. The paper trains in two stages, hints first: `init_share` of the stage does that.
    """

    needs = Needs(student="hint", teacher="hint")

    def adapt(self, example: AdapterExample) -> None:
        """Builds the regressors."""
        self.regressors = nn.ModuleList(_regressor(student, teacher) for student, teacher in example.pairs())

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for regressor, (ours, theirs) in zip(self.regressors, map_pairs(student, teacher), strict=True):
            loss = loss + F.mse_loss(*same_size(regressor(ours), theirs))
        return loss


def _regressor(student: Tensor, teacher: Tensor) -> nn.Sequential:
    inputs, outputs = student.shape[1], teacher.shape[1]
    ours, theirs = student.shape[2:], teacher.shape[2:]
    convolution: nn.Module
    if ours == (2 * theirs[0], 2 * theirs[1]):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    elif theirs == (2 * ours[0], 2 * ours[1]):
        convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    elif ours[0] >= theirs[0] and ours[1] >= theirs[1]:
        convolution = nn.Conv2d(inputs, outputs, (1 + ours[0] - theirs[0], 1 + ours[1] - theirs[1]), bias=False)
    else:
        convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    activation = [nn.ReLU()] if bool(teacher.min() >= 0) else []
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), *activation)
