"""SimKD: the student uses the teacher's classifier, and learns the features that go into it.

Chen et al. 2022, "Knowledge Distillation with the Reused Teacher Classifier", arXiv:2203.14001.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Deployed, Needs, Outputs, deepest
from kd_runner.tensors import maps, same_size, vectors


class Reused(nn.Module):
    """The student as it is deployed: its layers, a projector, and the teacher's classifier; logits [N, K].

    Args:
        num_classes: K.
        student: The network, whose own classifier is taken off.
        layer: Name of the student's layer that feeds the projector.
        size: Height and width to which the layer's maps are averaged first.
        features: Number of inputs of the teacher's classifier.
        reduction: Factor by which the projector is narrower inside, 1 or more.
        positive: True if the teacher's features are never negative: the projector then ends in a ReLU.
        width: Channels of the student's layer.
        classifier: Name of the student's own classifier, or None where it has none.
    """

    def __init__(
        self,
        num_classes: int,
        student: nn.Module,
        layer: str,
        size: Sequence[int],
        features: int,
        reduction: int,
        positive: bool,
        width: int,
        classifier: str | None,
    ) -> None:
        super().__init__()
        if classifier is not None:
            student.set_submodule(classifier, nn.Identity())
        self.student, self.layer, self.size = student, layer, (size[0], size[1])
        student.get_submodule(layer).register_forward_hook(_keep_output)
        inner = max(1, features // reduction)
        self.projector = nn.Sequential(
            *_convolution(width, inner, 1),
            nn.ReLU(),
            *_convolution(inner, inner, 3),
            nn.ReLU(),
            *_convolution(inner, features, 1),
            nn.ReLU() if positive else nn.Identity(),
        )
        self.head = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        observed: Any = self.student.get_submodule(self.layer)
        self.student(images)
        layer = maps(observed.kept_output)
        observed.kept_output = None
        if layer.shape[2:] != self.size:
            layer = F.adaptive_avg_pool2d(layer, self.size)
        return self.head(vectors(self.projector(layer)))


def _keep_output(module: Any, inputs: object, output: Tensor) -> None:
    # On the module that runs: copies of a network share the hook, and must not share what it keeps.
    module.kept_output = output


def _convolution(inputs: int, outputs: int, side: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False), nn.BatchNorm2d(outputs)


class SimKD:
    """Mean (projector(student's layer) − teacher's layer)²; no labels, no logits (equation 3).

    Layers are the last maps [N, C, H, W], averaged to the smaller size of the two. Where the input of the teacher's
    classifier is not the average of these maps, the target is that input, [N, C, 1, 1]. The exported student keeps the
    projector and the teacher's classifier, and its parameter count includes them.

    Args:
        reduction: r of the paper, the factor by which the projector is narrower inside, 1 or more.

    Raises:
        ValueError: a reduction below 1, or a teacher that does not end in a dense layer.
    """

    needs = Needs(student="map", teacher="map and embedding")

    def __init__(self, reduction: int = 2) -> None:
        if reduction < 1:
            raise ValueError(f"reduction must be 1 or more, got {reduction}")
        self.reduction = reduction

    def deployed(self, example: AdapterExample) -> Deployed:
        """The student with the projector and the teacher's classifier. Also decides the target, for `__call__`.

        Raises:
            ValueError: layers that do not fit, or a teacher that does not end in a dense layer.
        """
        head = example.teacher_head
        layer, student_maps = list(example.student.features.items())[-1][0], maps(deepest(example.student))
        teacher_features = list(example.teacher.features.values())
        if head is None or vectors(teacher_features[-1]).shape[1] != head.in_features:
            raise ValueError("the teacher must end in a dense layer whose input is its last feature")
        if layer.endswith(".input"):
            raise ValueError(f"must have a student's layer, not what goes into one, got {layer}")
        teacher_maps, embedding = maps(teacher_features[0]), vectors(teacher_features[-1])
        # True where the classifier's input is the average of the maps.
        self.averaged = teacher_maps.shape[1] == embedding.shape[1] and bool(
            (vectors(teacher_maps) - embedding).abs().max() <= 1e-4 * embedding.abs().max()
        )
        size = tuple(same_size(student_maps, teacher_maps)[0].shape[2:]) if self.averaged else (1, 1)
        arguments: dict[str, Any] = {
            "layer": layer,
            "size": list(size),
            "features": head.in_features,
            "reduction": self.reduction,
            "positive": bool(embedding.min() >= 0),
            "width": student_maps.shape[1],
            "classifier": example.student_head,
        }
        network = Reused(head.out_features, example.student_network, **arguments)
        # The teacher's, with its final weights when the student trains. A copy, as jobs side by side share the teacher,
        # and one of them may end on another device.
        network.head = copy.deepcopy(head).requires_grad_(False)
        return Deployed(network, {"_target_": f"{__name__}.Reused", **arguments}, ("projector",))

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        teacher_features = list(teacher.features.values())
        target = maps(teacher_features[0] if self.averaged else teacher_features[-1])
        return F.mse_loss(*same_size(maps(deepest(student)), target))
