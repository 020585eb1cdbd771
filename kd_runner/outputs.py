"""What a network says about a batch, what a distillation mode asks of it, and how to listen to its layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kd_runner.hints import did_you_mean

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

    def standardized(self) -> Outputs:
        """The same with standardized logits."""
        strong = self.strong.standardized() if self.strong is not None else None
        return dataclasses.replace(self, logits=standardized(self.logits), strong=strong)


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
class Example:
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


def precise(values: Tensor) -> Tensor:
    """`values` in float32, or as they are in float64, in which a rehearsal looks at gradients."""
    return values if values.dtype == torch.float64 else values.float()


# Why no mode takes the standardized logits of two classes.
SAME_NUMBERS = "whose standardized logits are the same two numbers whatever the network says"


def standardized(logits: Tensor) -> Tensor:
    """Each row of [N, K] less its mean, over its standard deviation; a row of equal numbers becomes 0.

    A student then need not match the range of its teacher's logits, only their pattern
    (Sun et al. 2024, equation 9, arXiv:2403.01427; unbiased deviation, as in their code, to which they add 1e-7, which
    would count for small logits).
    """
    logits = precise(logits)
    logits = logits - logits.mean(1, keepdim=True)
    logits = logits * inverse(logits.detach().abs().amax(1, keepdim=True))
    return logits * inverse(logits.std(1, keepdim=True))


def inverse(sizes: Tensor, silent: Tensor | float = 0.0) -> Tensor:
    """1 / `sizes`, and 0 for those of at most `silent` or too small to have an inverse."""
    heard = (sizes > silent) & (sizes > torch.finfo(sizes.dtype).tiny)
    return torch.where(heard, 1 / torch.where(heard, sizes, 1.0), 0.0)


def divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the distributions of logits [N, K] at `temperature`, mean over the batch."""
    return F.kl_div(
        F.log_softmax(precise(student_logits) / temperature, dim=1),
        F.log_softmax(precise(teacher_logits) / temperature, dim=1),
        reduction="batchmean",  # the default 'mean' would also divide by the number of classes
        log_target=True,
    )


def maps(feature: Tensor) -> Tensor:
    """A feature as maps [N, C, H, W]: a vector [N, C] is one pixel, tokens [N, L, C] are one column of them."""
    if feature.dim() == 2:
        return feature[:, :, None, None]
    if feature.dim() == 3:
        return feature.transpose(1, 2).unsqueeze(3)
    return feature


def vectors(feature: Tensor) -> Tensor:
    """A feature as vectors [N, C]: maps and tokens are averaged over their places."""
    return feature if feature.dim() == 2 else maps(feature).mean((2, 3))


def deepest(outputs: Outputs) -> Tensor:
    """The last of the features that a mode was handed."""
    return list(outputs.features.values())[-1]


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps [N, C, H, W], each side of the larger averaged down to the smaller."""
    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    smaller = [m if m.shape[2:] == size else F.adaptive_avg_pool2d(m, size) for m in (first, second)]
    return smaller[0], smaller[1]


def connector(inputs: int, outputs: int) -> nn.Sequential:
    """Brings maps of `inputs` channels to `outputs`: a 1x1 convolution with batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


SILENT = 1e-6  # of the largest in the batch: below it a length counts as 0


def unit(features: Tensor, dim: int = 1) -> Tensor:
    """`features` scaled to length 1 along `dim`, whatever their range; what is silent beside the rest becomes 0.

    What is shorter than 1e-6 of the largest number in the batch has no gradient: a plain division would multiply the
    gradient of a silent layer by the inverse of its length.
    """
    features = features * inverse(features.detach().abs().amax())
    return features * inverse(features.norm(dim=dim, keepdim=True), SILENT)


def image_range(features: Tensor) -> Tensor:
    """`features` [N, …] with the largest number of each image brought to 1; an image silent beside the rest to 0."""
    largest = features.detach().abs().flatten(1).amax(1)
    scale = inverse(largest, SILENT * largest.max())
    return features * scale.view(-1, *[1] * (features.dim() - 1))


def map_pairs(student: Outputs, teacher: Outputs) -> list[tuple[Tensor, Tensor]]:
    """(student's, teacher's) maps of each layer, shallow to deep, as they are."""
    return [(maps(s), maps(t)) for s, t in zip(student.features.values(), teacher.features.values(), strict=True)]


class Observed:
    """Calls `network` and returns Outputs, with the activations of `layers` taken by forward hooks.

    Not an nn.Module on purpose: an observed teacher never becomes part of what a student saves or trains.

    Args:
        layers: Names of submodules; with '.input' behind it, what goes into the submodule.

    Raises:
        ValueError: a name in `layers` is no submodule of `network`.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] = ()) -> None:
        self.network = network
        self.call: Callable[[Tensor], Tensor] = network  # a faster way to the same logits may take its place
        self.layers = tuple(dict.fromkeys(layers))
        self._features: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        modules = {name: module for name, module in network.named_modules() if name}
        for layer in self.layers:
            name = layer.removesuffix(INPUT)
            if name not in modules:
                raise ValueError(f"no layer {layer!r}{did_you_mean(name, modules)}")
            if layer.endswith(INPUT) and layer not in modules:
                self._hooks.append(modules[name].register_forward_pre_hook(self._keep_input(layer)))
            else:
                self._hooks.append(modules[name].register_forward_hook(self._keep(layer)))
        if layers:
            for module in modules.values():
                if getattr(module, "inplace", False):
                    module.inplace = False  # or it would overwrite what the layer before it gave

    def _keep(self, layer: str):
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._features[layer] = output

        return hook

    def _keep_input(self, layer: str):
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._features[layer] = inputs[0]

        return hook

    def release(self) -> None:
        """Take the hooks off the network."""
        for hook in self._hooks:
            hook.remove()

    def __call__(self, images: Tensor) -> Outputs:
        logits = self.call(images)
        features, self._features = self._features, {}
        # In the order asked for, whatever order the network runs in.
        return Outputs(logits, {name: features[name] for name in self.layers if name in features})
