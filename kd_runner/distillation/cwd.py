"""Channel-wise distillation: each channel of the student looks where the teacher's channel looks.

Shu et al. 2021, "Channel-wise Knowledge Distillation for Dense Prediction" (ICCV 2021), arXiv:2011.13256.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import kl_terms, maps, precise, same_size


def channel_logs(features: Tensor, temperature: float) -> Tensor:
    """[N, C, H·W]: log of each channel's softmax over the pixels of maps [N, C, H, W] (equation 3)."""
    return F.log_softmax(precise(features).flatten(2) / temperature, dim=2)


class CWD(nn.Module):
    """T² · mean over images and channels of KL(teacher's channel || student's channel), over the pixels (equation 4).

    Layers are the last maps [N, C, H, W], averaged to the smaller size of the two. A channel is a distribution over the
    pixels, by a softmax at the temperature T. A 1x1 convolution brings the student's maps to the teacher's channels,
    where it has others. The paper has segmentation and detection; here the student learns classes beside it.
    """

    needs = Needs(student="map", teacher="map", maps=True)

    def adapt(self, example: AdapterExample) -> None:
        """Builds the 1x1 convolution.

        Raises:
            ValueError: maps of one pixel, over which every channel is the same distribution.
        """
        student, teacher = deepest(example.student), deepest(example.teacher)
        for role, features in (("student", student), ("teacher", teacher)):
            if features.shape[2:].numel() == 1:
                raise ValueError(f"must have maps of more than one pixel from the {role}, the last have one")
        inputs, outputs = student.shape[1], teacher.shape[1]
        self.align = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_maps, teacher_maps = same_size(self.align(maps(deepest(student))), maps(deepest(teacher)))
        terms = kl_terms(channel_logs(student_maps, temperature), channel_logs(teacher_maps, temperature))
        return temperature**2 * terms.sum() / (terms.shape[0] * terms.shape[1])
