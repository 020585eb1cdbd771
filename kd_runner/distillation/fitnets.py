"""FitNets: a layer of the student, through a regressor, imitates a layer of the teacher (the hint).

Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs
from kd_runner.tensors import same_size


class FitNets(nn.Module):
    """Σ over the layers of mean (regressor(student's layer) − teacher's layer)² (equation 3); layers [N, C, H, W].

    The regressor is a convolution that brings channels and size to the teacher's, with batch norm, and a ReLU where the
    teacher's layer ends in one. The paper trains in two stages, hints first: `init_share` of the stage does that.
    """

    needs = Needs(student="hint", teacher="hint")

    def adapt(self, example: AdapterExample) -> None:
        """Builds the regressors."""
        self.regressors = nn.ModuleList(_regressor(student, teacher) for student, teacher in example.pairs())

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        loss = student.logits.new_zeros(())
        for regressor, (student_maps, teacher_maps) in zip(self.regressors, map_pairs(student, teacher), strict=True):
            loss = loss + F.mse_loss(*same_size(regressor(student_maps), teacher_maps))
        return loss


def _regressor(student: Tensor, teacher: Tensor) -> nn.Sequential:
    """A convolution from the student's channels and size to the teacher's, batch norm, and a ReLU where it has one."""
    inputs, outputs = student.shape[1], teacher.shape[1]
    (height, width), (teacher_height, teacher_width) = student.shape[2:], teacher.shape[2:]
    convolution: nn.Module
    if (height, width) == (2 * teacher_height, 2 * teacher_width):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    elif (teacher_height, teacher_width) == (2 * height, 2 * width):
        convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    elif height >= teacher_height and width >= teacher_width:
        kernel = (1 + height - teacher_height, 1 + width - teacher_width)
        convolution = nn.Conv2d(inputs, outputs, kernel, bias=False)
    else:
        convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    activation = [nn.ReLU()] if bool(teacher.min() >= 0) else []
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), *activation)
