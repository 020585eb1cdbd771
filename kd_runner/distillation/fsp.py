"""Flow of the solution procedure: products of one layer's channels and the next layer's.

Yim et al. 2017, "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning"
(CVPR 2017, pages 4133 to 4141).
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, map_pairs


def flow(first: Tensor, second: Tensor) -> Tensor:
    """[N, C1, C2]: products of the channels of maps [N, C1, H, W] and [N, C2, H', W'], mean over the pixels.

    The larger maps are max-pooled to the size of the smaller (equation 1).
    """
    size = tuple(min(sides) for sides in zip(first.shape[2:], second.shape[2:], strict=True))
    first, second = (F.adaptive_max_pool2d(maps, size).flatten(2) for maps in (first, second))
    return first @ second.transpose(1, 2) / first.shape[2]


class FSP(nn.Module):
    """Σ over neighbouring layers of mean (flow of the student − flow of the teacher)² (equation 2).

    The paper has equal widths. Where they differ, a 1x1 convolution brings the student's layer to the teacher's.
    As in the paper, the first flow is that of the first stage: from what the first convolution gives to the stage's
    end, in networks that have more than one convolution there. `init_share` of the training initialises the student by
    this loss alone.
    """

    needs = Needs(student="beginning and stages", teacher="beginning and stages")

    def adapt(self, example: AdapterExample) -> None:
        """Builds the adapters.

        Raises:
            ValueError: a network has fewer than two layers, or not as many as the other.
        """
        self.adapters = example.width_adapters(least=2)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        pairs = map_pairs(student, teacher)
        student_layers = [adapter(layer) for adapter, (layer, _) in zip(self.adapters, pairs, strict=True)]
        teacher_layers = [layer for _, layer in pairs]
        neighbours = zip(itertools.pairwise(student_layers), itertools.pairwise(teacher_layers), strict=True)
        loss = student.logits.new_zeros(())
        for student_pair, teacher_pair in neighbours:
            loss = loss + F.mse_loss(flow(*student_pair), flow(*teacher_pair))
        return loss
