"""Scale decoupled distillation: the logits of regions of the image, at several scales, not those of the whole alone.

Wei, Luo and Luo 2024, "Scaled Decoupled Distillation" (CVPR 2024), arXiv:2403.13512.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.distillation.class_maps import ClassMaps, class_maps
from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import kl_of_images


class SDD(nn.Module):
    """T² · mean over images and regions of (weight of the region) · KL(teacher || student) of the region's logits.

    The logits of a region are what a network's last dense layer gives for its last maps averaged over the region. A
    scale m cuts the maps into m x m regions; scale 1 is the whole image. A region counts `complementary_weight` where
    the teacher is right on it and wrong on the whole image, or the other way round, and 1 elsewhere.

    Args:
        scales: Numbers of rows of regions, each 1 or more, among them 1: M of the paper.
        complementary_weight: Weight of regions on which the teacher differs from itself, 0 or more.

    Raises:
        ValueError: scales without 1 or below it.
    """

    needs = Needs(student="map", teacher="map", labels=True, teacher_logits=True, maps=True)
    has_adapters = False  # a module for the copy of the teacher's head alone

    def __init__(self, scales: Sequence[int] = (1, 2, 4), complementary_weight: float = 2.0) -> None:
        if 1 not in scales or min(scales) < 1:
            raise ValueError(f"scales must hold whole numbers from 1 on, and 1 among them, got {list(scales)}")
        super().__init__()
        self.scales, self.complementary_weight = tuple(scales), complementary_weight

    def adapt(self, example: AdapterExample) -> None:
        """Finds how the two networks read their last maps.

        Raises:
            ValueError: a network whose logits are no dense layer of its last maps.
        """
        self.student_maps, self.teacher_maps = class_maps(example)
        self.teacher_head = self.teacher_maps.head

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        logits = self._regions(self.student_maps, deepest(student))
        targets = self._regions(self.teacher_maps, deepest(teacher))
        divergences = kl_of_images(
            F.log_softmax(logits / temperature, dim=1), F.log_softmax(targets / temperature, dim=1)
        )
        right = targets.argmax(1) == labels.unsqueeze(1)
        complementary = right != (teacher.logits.argmax(1) == labels).unsqueeze(1)
        weights = torch.where(complementary, self.complementary_weight, 1.0)
        return temperature**2 * (weights * divergences).mean()

    def _regions(self, class_maps_of: ClassMaps, features: Tensor) -> Tensor:
        """[N, K, regions]: the logits of all regions, those of the scales in turn."""
        logit_maps = class_maps_of(features)
        regions = torch.cat([F.adaptive_avg_pool2d(logit_maps, scale).flatten(2) for scale in self.scales], dim=2)
        return regions + torch.as_tensor(class_maps_of.bias).view(-1, 1)
