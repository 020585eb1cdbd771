"""Inter-channel correlation: channels that are alike in the teacher's layer should be alike in the student's.

Liu et al. 2021, "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation" (ICCV 2021),
arXiv:2202.03680.
"""

from __future__ import annotations

from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest, image_range
from kd_runner.tensors import connector, maps, unit


def channel_correlations(features: Tensor) -> Tensor:
    """[N, C, C]: inner products of the channels of each image's maps [N, C, H, W], each row scaled to length 1."""
    flat = image_range(features).flatten(2)
    return unit(flat @ flat.transpose(1, 2), dim=2)


class ICKD(nn.Module):
    """Mean over the images of Σ over pairs of channels of (correlation in the student − in the teacher)² / C.

    Layers are the last maps [N, C, H, W], of any sizes. A 1x1 convolution with batch norm brings the student's to the
    teacher's C channels. As in the authors' code, the sum is divided by C and not by the C² pairs.
    """

    needs = Needs(student="map", teacher="map")

    def adapt(self, example: AdapterExample) -> None:
        """Builds the convolution."""
        student, teacher = maps(deepest(example.student)), maps(deepest(example.teacher))
        self.embedding = connector(student.shape[1], teacher.shape[1])

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_correlations = channel_correlations(self.embedding(maps(deepest(student))))
        difference = student_correlations - channel_correlations(maps(deepest(teacher)))
        return difference.square().sum() / (difference.shape[0] * difference.shape[1])
