"""Class attention transfer: the student looks for each class where its teacher looks.

Guo et al. 2023, "Class Attention Transfer Based Knowledge Distillation" (CVPR 2023), arXiv:2304.12777.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.distillation.class_maps import class_maps
from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import unit


class CATKD(nn.Module):
    """Mean over images, classes and places of (class map of the student − class map of the teacher)².

    Class maps [N, K, H, W] are how much each place of the last maps adds to the logit of each class. They are averaged
    down to resolution x resolution places, and each is scaled to length 1.

    Args:
        resolution: Height and width of the compared class maps, 2 or more; less where a network's maps are smaller.

    Raises:
        ValueError: a resolution below 2.
    """

    needs = Needs(student="map", teacher="map", maps=True)
    has_adapters = False  # a module for the copy of the teacher's head alone

    def __init__(self, resolution: int = 2) -> None:
        if resolution < 2:
            raise ValueError(f"resolution must be 2 or more, got {resolution}")
        super().__init__()
        self.resolution = resolution

    def adapt(self, example: AdapterExample) -> None:
        """Finds how the two networks read their last maps.

        Raises:
            ValueError: a network whose logits are no dense layer of its last maps, or maps of one pixel.
        """
        for role, outputs in (("student", example.student), ("teacher", example.teacher)):
            if deepest(outputs).shape[2:].numel() == 1:
                raise ValueError(f"must have maps of more than one pixel from the {role}, the last have one")
        self.student_maps, self.teacher_maps = class_maps(example)
        self.teacher_head = self.teacher_maps.head

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_features, teacher_features = deepest(student), deepest(teacher)
        sides = zip(student_features.shape[2:], teacher_features.shape[2:], strict=True)
        height, width = (min(self.resolution, *pair) for pair in sides)
        looks = (
            F.adaptive_avg_pool2d(class_maps_of(features), (height, width)).flatten(2)
            for class_maps_of, features in (
                (self.student_maps, student_features),
                (self.teacher_maps, teacher_features),
            )
        )
        student_looks, teacher_looks = (unit(look, dim=2) for look in looks)
        return (student_looks - teacher_looks).square().mean()
