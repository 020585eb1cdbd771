"""Outputs of a network for a batch, the needs of a distillation mode, and the adapters that a mode builds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from kd_runner.tensors import SILENT, inverse, maps, one_versus_all, standardize

INPUT = ".input"  # at the end of a layer's name: the input of the layer, not its output

# The layers that a mode may ask for without naming them; `networks.layers` finds them. For roles with 'stages', both
# networks give the same number of layers, the deepest ones; 'unpaired stages' gives all of each network.
Role = Literal[
    "stages",
    "unpaired stages",
    "beginning and stages",
    "preactivations",
    "map",
    "hint",
    "embedding",
    "stages and embedding",
    "preactivations and embedding",
    "map and embedding",
    "heads",
]


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network for a batch of N images.

    Args:
        logits: [N, K], unnormalised.
        features: Activations by layer name, shallow to deep: maps [N, C, H, W], tokens [N, L, C] or vectors [N, C].
            A mode is given those of its layers only.
        indices: int64 [N], positions of the images in the training split, on the logits' device.
        strong: Outputs for the strongly augmented view of the images, for modes that need it.
        clean: The student's outputs for the images as they are, where the others are for attacked ones; None where
            nothing asks for them.
        progress: Share of the student's training that is done, 0 to 1.
        others: The outputs of the other peers, where several teach a student; this object has those of the first.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    indices: Tensor | None = None
    strong: Outputs | None = None
    progress: float = 0.0
    clean: Outputs | None = None
    others: tuple[Outputs, ...] = ()

    def float(self) -> Outputs:
        """The outputs in float32, in which every loss is computed."""
        if not self.features and self.logits.dtype == torch.float32:
            return self
        features = {name: value.float() for name, value in self.features.items()}
        return dataclasses.replace(self, logits=self.logits.float(), features=features)

    def of(self, layers: Iterable[str]) -> Outputs:
        """The outputs with the features of `layers` only, in that order."""
        features = {name: self.features[name] for name in layers}
        strong = self.strong.of(layers) if self.strong is not None else None
        clean = self.clean.of(layers) if self.clean is not None else None
        return dataclasses.replace(self, features=features, strong=strong, clean=clean)

    def standardize(self) -> Outputs:
        """The outputs with standardized logits."""
        strong = self.strong.standardize() if self.strong is not None else None
        clean = self.clean.standardize() if self.clean is not None else None
        others = tuple(other.standardize() for other in self.others)
        return dataclasses.replace(self, logits=standardize(self.logits), strong=strong, clean=clean, others=others)

    def pairs(self) -> Outputs:
        """The outputs with two logits for each image and label, [N·K, 2], each label against all others."""
        strong = self.strong.pairs() if self.strong is not None else None
        clean = self.clean.pairs() if self.clean is not None else None
        return dataclasses.replace(self, logits=one_versus_all(self.logits), strong=strong, clean=clean)


@dataclass(frozen=True)
class Needs:
    """Needs of a mode, its attribute `needs`; a mode without the attribute is given logits, labels and layers.

    Args:
        student, teacher: Layers to look for where the settings name none.
        labels: True where the loss depends on the labels. For mixed images, the loss is then computed with the labels
            of both images.
        teacher_logits: True where the loss depends on the teacher's logits. Without them and without layers of the
            teacher, the teacher does not run.
        classes: True where the mode looks up the labels of the training images when it is built
            (`AdapterExample.labels`).
        strong_view: True where both networks must also see a strongly augmented view (`Outputs.strong`).
        indices: True where the mode must know which images are in the batch (`Outputs.indices`).
        maps: True where features must have a height and a width.
        varies: True where the loss also depends on what only the CPU knows, such as `Outputs.progress` or an attribute
            that it sets anew: its steps are not repeated as one CUDA graph.
        whole_batch: True where the loss compares images with one another, so that it is not a mean over losses of
            single images. Where several processes share a batch, each then gets the outputs for all of its images.
        attacked: True where the student must be shown attacked images (`adversarial.eps` above 0). The label loss is
            then that of the images as they are.
        clean_view: True where the student must also be shown the images as they are (`Outputs.clean`).
        peers: True where the mode is for students that teach one another, and looks at all of them at once
            (`Outputs.others`).
        several_labels: The way to compute the loss where an image may have several labels: 'pairs', of two logits
            (z, 0) for each image and label, whose softmax is the label's sigmoid; 'logits', of the logits as they are;
            'no', not at all; None: 'logits' for a mode that looks at no logits and no labels, else 'no'.
    """

    student: Role | None = None
    teacher: Role | None = None
    labels: bool = False
    classes: bool = False
    teacher_logits: bool = False
    strong_view: bool = False
    indices: bool = False
    maps: bool = False
    varies: bool = False
    whole_batch: bool = False
    attacked: bool = False
    clean_view: bool = False
    peers: bool = False
    several_labels: Literal["pairs", "logits", "no"] | None = None

    @property
    def way_with_several_labels(self) -> Literal["pairs", "logits", "no"]:
        """`several_labels`, with what None stands for."""
        if self.several_labels is not None:
            return self.several_labels
        return "no" if self.labels or self.classes or self.teacher_logits or self.peers else "logits"

    @property
    def uses_teacher(self) -> bool:
        """True where the teacher must run."""
        return self.teacher_logits or self.teacher is not None


UNDECLARED = Needs(labels=True, teacher_logits=True, varies=True, whole_batch=True)


def needs_of(loss: object) -> Needs:
    """Needs that `loss` declares."""
    return getattr(loss, "needs", UNDECLARED)


@dataclass(frozen=True)
class AdapterExample:
    """An example from which a mode's method `adapt` builds its adapters, once, before anything trains.

    Args:
        student, teacher: Outputs of the networks for a few images of noise, with the mode's layers.
        student_network, teacher_network: The networks. A mode must not keep them as submodules: only its adapters join
            the optimizer.
        teacher_head: Dense layer that gives the teacher's logits, or None where the teacher does not end in one.
        student_head: Name of the layer that gives the student's logits, or None.
        labels: int64 [images], labels of the training split, in the order that `Outputs.indices` counts.
    """

    student: Outputs
    teacher: Outputs
    student_network: nn.Module
    teacher_network: nn.Module
    teacher_head: nn.Linear | None
    student_head: str | None
    labels: Tensor

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs (student's maps, teacher's maps) of the layers, each [N, C, H, W], shallow to deep.

        Raises:
            ValueError: the two networks do not have the same number of layers.
        """
        if len(self.student.features) != len(self.teacher.features):
            raise ValueError(
                f"must have as many student layers as teacher layers, got {_layers_in_words(self.student)} and "
                f"{_layers_in_words(self.teacher)}"
            )
        return map_pairs(self.student, self.teacher)

    def width_adapters(self, least: int = 1) -> nn.ModuleList:
        """A 1x1 convolution for each pair of layers, from the student's channels to the teacher's, or the identity.

        The identity is for pairs of equal width.

        Args:
            least: Number of layers that the mode needs of each network.

        Raises:
            ValueError: as `pairs`, or a network has fewer layers.
        """
        pairs = self.pairs()
        if len(pairs) < least:
            raise ValueError(f"must have {least} layers or more of each network, got {len(pairs)}")
        return nn.ModuleList(
            nn.Identity()
            if student.shape[1] == teacher.shape[1]
            else nn.Conv2d(student.shape[1], teacher.shape[1], 1, bias=False)
            for student, teacher in pairs
        )

    def preactivation_pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs as `pairs` gives them, of layers that lie in front of their activations.

        Raises:
            ValueError: as `pairs`, or a teacher's layer is never negative, so that it lies behind its activation.
        """
        pairs = self.pairs()
        for name, (_, teacher_maps) in zip(self.teacher.features, pairs, strict=True):
            if bool(teacher_maps.min() >= 0):
                raise ValueError(
                    f"must have layers in front of their activations, the teacher's {name} is never negative"
                )
        return pairs


@dataclass(frozen=True)
class Deployed:
    """Another form of the student, from a mode's method `deployed`: it is trained, saved and evaluated instead.

    Args:
        network: The form, with the student inside.
        node: Settings that build the form again, with `_target_`. They do not hold the student, which is passed as the
            argument `student`.
        layers: Names of layers of `network` whose features the mode is given.
    """

    network: nn.Module
    node: dict[str, object]
    layers: tuple[str, ...]


def _layers_in_words(outputs: Outputs) -> str:
    names = ", ".join(outputs.features)
    return f"{len(outputs.features)} ({names})" if names else "none"


def deepest(outputs: Outputs) -> Tensor:
    """The features of the deepest layer that a mode was given."""
    return list(outputs.features.values())[-1]


def image_range(features: Tensor) -> Tensor:
    """`features` [N, …] with the largest number of each image scaled to 1.

    An image whose largest number is below 1e-6 of the batch's becomes 0.
    """
    largest = features.detach().abs().flatten(1).amax(1)
    scale = inverse(largest, SILENT * largest.max())
    return features * scale.view(-1, *[1] * (features.dim() - 1))


def map_pairs(student: Outputs, teacher: Outputs) -> list[tuple[Tensor, Tensor]]:
    """Pairs (student's maps, teacher's maps) of the layers, each [N, C, H, W], shallow to deep, in their own sizes."""
    layers = zip(student.features.values(), teacher.features.values(), strict=True)
    return [(maps(student_layer), maps(teacher_layer)) for student_layer, teacher_layer in layers]
