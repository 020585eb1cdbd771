"""What a network says about a batch, what a distillation mode asks of it, and how to listen to its layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from kd_runner.tensors import SILENT, inverse, maps, standardize

INPUT = ".input"  # behind a layer's name: what goes into it, not what comes out

# What automatic layers may be asked for by; see kd_runner.layers.
Role = Literal[
    "stages",
    "preactivations",
    "map",
    "hint",
    "embedding",
    "stages and embedding",
    "preactivations and embedding",
    "map and embedding",
]


@dataclass(frozen=True)
class Outputs:
    """What a network gave for a batch.

    Args:
        logits: [N, K], unnormalised.
        features: Activations by layer name, shallow to deep; a mode is handed those of its own layers.
        indices: int64 [N], on the logits' device: positions in the training split.
        strong: The same for the strongly augmented view of the images, for modes that ask for it.
        progress: The share of the student's training that is done, 0 to 1.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    indices: Tensor | None = None
    strong: Outputs | None = None
    progress: float = 0.0

    def float(self) -> Outputs:
        """The same in float32, in which every loss is computed."""
        if not self.features and self.logits.dtype == torch.float32:
            return self
        features = {name: value.float() for name, value in self.features.items()}
        return dataclasses.replace(self, logits=self.logits.float(), features=features)

    def of(self, layers: Iterable[str]) -> Outputs:
        """The same with the features of `layers` alone, in their order."""
        features = {name: self.features[name] for name in layers}
        strong = self.strong.of(layers) if self.strong is not None else None
        return dataclasses.replace(self, features=features, strong=strong)

    def standardize(self) -> Outputs:
        """The same with standardized logits."""
        strong = self.strong.standardize() if self.strong is not None else None
        return dataclasses.replace(self, logits=standardize(self.logits), strong=strong)


@dataclass(frozen=True)
class Needs:
    """What a mode asks for, declared as its attribute `needs`; a mode without one is given logits, labels and layers.

    Args:
        student, teacher: Which layers, where the settings name none.
        labels: Whether the loss depends on the labels. Of mixed images, such a mode is asked for both.
        teacher_logits: Whether it depends on what the teacher says; without that and layers, the teacher rests.
        strong_view: Whether both networks also see the images strongly augmented (`Outputs.strong`).
        indices: Whether it asks which images these are (`Outputs.indices`).
        maps: Whether features must have a height and a width.
    """

    student: Role | None = None
    teacher: Role | None = None
    labels: bool = False
    teacher_logits: bool = False
    strong_view: bool = False
    indices: bool = False
    maps: bool = False

    @property
    def uses_teacher(self) -> bool:
        return self.teacher_logits or self.teacher is not None


UNDECLARED = Needs(labels=True, teacher_logits=True)


def needs_of(loss: object) -> Needs:
    """What `loss` declares that it needs."""
    return getattr(loss, "needs", UNDECLARED)


@dataclass(frozen=True)
class AdapterExample:
    """What a mode with a method `adapt` is shaped by, once, before anything trains.

    Args:
        student, teacher: What the networks give for a few images of noise, with the mode's layers.
        student_network, teacher_network: Not to be kept as submodules: only the adapters join the optimizer.
        teacher_head: The dense layer that gives the teacher's logits, where it ends in one.
        student_head: The name of the student's.
        labels: int64 [images], of the whole training split, in the order that `Outputs.indices` counts.
    """

    student: Outputs
    teacher: Outputs
    student_network: nn.Module
    teacher_network: nn.Module
    teacher_head: nn.Linear | None
    student_head: str | None
    labels: Tensor

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """(student's, teacher's) feature of each layer, as maps [N, C, H, W].

        Raises:
            ValueError: the two networks have not equally many layers.
        """
        if len(self.student.features) != len(self.teacher.features):
            raise ValueError(
                f"must have as many student layers as teacher layers, got {_names(self.student)} and "
                f"{_names(self.teacher)}"
            )
        return map_pairs(self.student, self.teacher)

    def preactivation_pairs(self) -> list[tuple[Tensor, Tensor]]:
        """The pairs of layers that lie in front of their activations.

        Raises:
            ValueError: as `pairs` does, or a teacher's layer that is never negative, so lies behind its activation.
        """
        pairs = self.pairs()
        for name, (_, teacher) in zip(self.teacher.features, pairs, strict=True):
            if bool(teacher.min() >= 0):
                raise ValueError(
                    f"must have layers in front of their activations, the teacher's {name} is never negative"
                )
        return pairs


@dataclass(frozen=True)
class Deployed:
    """Another form of the student, which a mode with a method `deployed` trains, saves and evaluates in its place.

    Args:
        network: With the student inside.
        node: What builds it again, without the student, which it takes as its argument `student`.
        layers: Of `network`, whose features the mode is handed.
    """

    network: nn.Module
    node: dict[str, object]
    layers: tuple[str, ...]


def _names(outputs: Outputs) -> str:
    return ", ".join(outputs.features) or "none"


def deepest(outputs: Outputs) -> Tensor:
    """The last of the features that a mode was handed."""
    return list(outputs.features.values())[-1]


def image_range(features: Tensor) -> Tensor:
    """`features` [N, …] with the largest number of each image brought to 1; an image silent beside the rest to 0."""
    largest = features.detach().abs().flatten(1).amax(1)
    scale = inverse(largest, SILENT * largest.max())
    return features * scale.view(-1, *[1] * (features.dim() - 1))


def map_pairs(student: Outputs, teacher: Outputs) -> list[tuple[Tensor, Tensor]]:
    """(student's, teacher's) maps of each layer, shallow to deep, as they are."""
    return [(maps(s), maps(t)) for s, t in zip(student.features.values(), teacher.features.values(), strict=True)]
