"""Semantic calibration: attention decides, for each image, which of the teacher's layers a student's layer learns from.

Chen et al. 2021, "Cross-Layer Distillation with Semantic Calibration" (AAAI 2021), arXiv:2012.03236.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs
from kd_runner.tensors import connector, maps, same_size, unit


def image_similarities(features: Tensor, batch_size: int) -> Tensor:
    """[N, batch_size]: inner products of each image's features [N, …] with those of all images of the batch.

    A batch with fewer than `batch_size` images has zeros for those that it lacks.
    """
    flat = features.flatten(1)
    return F.pad(flat @ flat.t(), (0, batch_size - len(flat)))


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolutions from maps [N, inputs, H, W] to [N, outputs, H, W], twice as wide inside."""
    inner = 2 * outputs
    return nn.Sequential(
        *connector(inputs, inner),
        nn.ReLU(),
        nn.Conv2d(inner, inner, 3, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, outputs, 1, bias=False),
    )


class SemCKD(nn.Module):
    """Mean over images and student's layers of Σ over teacher's layers of attention · mean squared distance.

    Layers are [N, C, H, W], the larger of two averaged down to the smaller; a small network brings each student's layer
    to the channels of each teacher's layer (equation 7). The attention of a student's layer over the teacher's layers
    is a softmax of products of a query and keys, which perceptrons read from the similarities of the batch's images in
    each layer (equations 4 to 6). Beside it, the authors have KL(teacher || student) at temperature 4 with weight 1.

    Args:
        batch_size: Images of a batch, the number of inputs of the perceptrons; a batch may have fewer.

    Raises:
        ValueError: a batch size below 1.
    """

    needs = Needs(student="unpaired stages", teacher="unpaired stages", whole_batch=True)

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.batch_size = batch_size

    def adapt(self, example: AdapterExample) -> None:
        """Builds perceptrons for queries and keys, and the networks between every two layers."""
        student, teacher = ([maps(f).shape[1] for f in o.features.values()] for o in (example.student, example.teacher))
        self.queries = nn.ModuleList(self._perceptron() for _ in student)
        self.keys = nn.ModuleList(self._perceptron() for _ in teacher)
        self.projections = nn.ModuleList(
            nn.ModuleList(projection(inputs, outputs) for outputs in teacher) for inputs in student
        )

    def _perceptron(self) -> nn.Sequential:
        width = max(1, self.batch_size // 4)
        return nn.Sequential(nn.Linear(self.batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_maps, teacher_maps = ([maps(f) for f in o.features.values()] for o in (student, teacher))
        queries, keys = self._read(self.queries, student_maps), self._read(self.keys, teacher_maps)
        attention = F.softmax(queries @ keys.transpose(1, 2), dim=2)
        rows = zip(self.projections, student_maps, strict=True)
        distances = torch.stack([_distances(projections, layer, teacher_maps) for projections, layer in rows], dim=1)
        return (attention * distances).sum() / distances[..., 0].numel()

    def _read(self, perceptrons: nn.ModuleList, layers: list[Tensor]) -> Tensor:
        """[N, layers, width]: a vector of length 1 for each image and layer."""
        pairs = zip(perceptrons, layers, strict=True)
        return torch.stack([unit(read(image_similarities(layer, self.batch_size))) for read, layer in pairs], dim=1)


def _distances(projections: Any, layer: Tensor, teacher_maps: Iterable[Tensor]) -> Tensor:
    """[N, teacher's layers]: mean squared distances of each image's projected layer to the teacher's layers."""
    distances = []
    for project, teacher_layer in zip(projections, teacher_maps, strict=True):
        source, target = same_size(layer, teacher_layer)
        distances.append((project(source) - target).square().flatten(1).mean(1))
    return torch.stack(distances, dim=1)
