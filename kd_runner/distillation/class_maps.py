"""Maps of the classes: where in its last maps a network sees what speaks for each class (Zhou et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.distillation.dense_copy import DenseCopy
from kd_runner.outputs import AdapterExample, Outputs, deepest
from kd_runner.tensors import maps, vectors


@dataclass(frozen=True)
class ClassMaps:
    """The reading of a network's last maps by its dense layer: [N, C, H, W] to maps of the classes [N, K, H, W].

    The mean of a class's map is the class's logit without the bias (arXiv:1512.04150, equation 2).

    Args:
        head: The student's last dense layer, which the student trains and saves; of the teacher's a copy.
        averaged: True where it reads the average of the maps, False where it reads all of their numbers.
    """

    head: nn.Linear | DenseCopy
    averaged: bool

    def __call__(self, features: Tensor) -> Tensor:
        weight = self.head.weight
        if self.averaged:
            return F.conv2d(features, weight[:, :, None, None])
        height, width = features.shape[2:]
        by_place = weight.unflatten(1, features.shape[1:])
        return (features.unsqueeze(1) * by_place).sum(2) * (height * width)

    @property
    def bias(self) -> Tensor | float:
        """[K], or 0 where the dense layer has none."""
        return 0.0 if self.head.bias is None else self.head.bias


def class_maps(example: AdapterExample) -> tuple[ClassMaps, ClassMaps]:
    """The class maps of (student, teacher), from the last layer that the mode is given of each.

    A mode must register the teacher's head as its own, so that it goes with the mode to its device.

    Raises:
        ValueError: a network of which the logits are no dense layer of that layer, averaged or flattened.
    """
    name = example.student_head
    student_head = None if name is None else example.student_network.get_submodule(name)
    teacher_maps = _class_maps("teacher", example.teacher, example.teacher_head)
    assert isinstance(teacher_maps.head, nn.Linear)
    return (
        _class_maps("student", example.student, student_head),
        replace(teacher_maps, head=DenseCopy(teacher_maps.head)),
    )


def _class_maps(role: str, outputs: Outputs, head: nn.Module | None) -> ClassMaps:
    layer, last = list(outputs.features)[-1], maps(deepest(outputs))
    if isinstance(head, nn.Linear):
        weight, bias = (None if value is None else value.detach().cpu() for value in (head.weight, head.bias))
        for averaged in (True, False):
            inputs = vectors(last) if averaged else last.flatten(1)
            if weight is not None and inputs.shape[1] == weight.shape[1]:
                difference = F.linear(inputs, weight, bias) - outputs.logits
                if bool(difference.abs().max() <= 1e-3 * outputs.logits.abs().max()):
                    return ClassMaps(head, averaged)
    raise ValueError(
        f"must have a {role} whose logits are a dense layer of its last maps, averaged or flattened: those of this one "
        f"are not, of {layer}"
    )
