"""The layers of any network that distillation uses where the settings name none, found by running it once."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_runner.outputs import INPUT, Role

BATCH_NORM = nn.modules.batchnorm._BatchNorm
NORMS = (BATCH_NORM, nn.LayerNorm, nn.GroupNorm)
# A stage's features are better taken behind its activation than directly behind these.
UNFINISHED = (nn.Conv2d, BATCH_NORM, nn.Dropout, nn.Flatten, nn.Linear, nn.LayerNorm)
ACTIVATIONS = (
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh, nn.Tanh,
    nn.ELU, nn.SELU, nn.CELU,
)  # fmt: skip
MOST_BLOCKS = 4  # stages of a network whose features all have one size


class Call(NamedTuple):
    """One call of a layer; input and output are None where they are no tensors."""

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor | None


@dataclass(frozen=True)
class Layers:
    """A network's layers, in the order in which they finish.

    Args:
        shapes: The shape of each layer's output without the batch; empty where the output is no tensor.
        stages: Names of the last finished layer at each size of the maps, shallow to deep.
        preactivations: Names of the inputs of the activations that end the stages. Where a stage ends in no
            activation: the input of the activation that follows it, directly or behind a norm; else the stage.
        embedding: The name of the input of the dense layer that gives the logits; None where the network ends in no
            dense layer.
        head: The name of this dense layer.
        channels_last: Names of layers whose outputs are [N, H, W, C], recognised by the layer norms around them.
        beginning: The name of the input of the second convolution, where it has the size of the first stage without
            being its output: what the first layer gives. None else.
        heads: Names of two dense layers whose mean the logits are; none: the network has no such.
        kinds: The type of each layer, such as Conv2d, and behind it what an activation does to its output.
    """

    shapes: dict[str, tuple[int, ...]]
    stages: tuple[str, ...]
    preactivations: tuple[str, ...]
    embedding: str | None
    head: str | None
    channels_last: frozenset[str] = frozenset()
    beginning: str | None = None
    heads: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)

    def of(self, role: Role) -> tuple[str, ...]:
        """The names that a role stands for.

        Raises:
            ValueError: the network has none.
        """
        if role == "embedding":
            if self.embedding is None:
                raise ValueError("must end in a dense layer, whose input is the embedding; name a layer instead")
            return (self.embedding,)
        if role == "heads":
            if not self.heads:
                raise ValueError(
                    "must have two dense layers whose mean the logits are, as a vision transformer with a distillation "
                    "token has (student=vit)"
                )
            return self.heads
        if not self.stages:
            raise ValueError("has no layers that could be found; name them")
        if role == "beginning and stages":
            return (*([] if self.beginning is None else [self.beginning]), *self.stages)
        if role == "map":
            return self.stages[-1:]
        if role == "hint":
            return self.stages[len(self.stages) // 2 :][:1]
        chosen = self.preactivations if role.startswith("preactivations") else self.stages
        chosen = chosen[-1:] if role == "map and embedding" else chosen
        return (*chosen, self.embedding) if role.endswith("and embedding") and self.embedding else chosen

    def sizes(self) -> dict[str, str]:
        """`shapes` as texts, such as 16x8x8."""
        return {name: "x".join(map(str, shape)) or "no tensor" for name, shape in self.shapes.items()}

    def lines(self) -> list[str]:
        """A line for each layer: its name, the shape of its output, its type and where it stands to an activation."""
        rows = [(name, size, self.kinds.get(name, "")) for name, size in self.sizes().items()]
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        return [f"{name:{widths[0]}}  {size:{widths[1]}}  {kind}".rstrip() for name, size, kind in rows]

    def __str__(self) -> str:
        return ", ".join(f"{name} {size}" for name, size in self.sizes().items())


def layers_of(network: nn.Module, images: Tensor, num_classes: int) -> Layers:
    """The layers of `network`, found by running a copy of it, in evaluation mode, on `images` [N, C, H, W].

    Raises:
        ValueError: the network does not return logits [N, num_classes].
    """
    network = copy.deepcopy(network).cpu().eval()
    calls: list[Call] = []  # in the order in which they finish
    for name, module in network.named_modules():
        if getattr(module, "inplace", False):
            module.inplace = False
        if name:
            module.register_forward_hook(
                lambda module, inputs, output, name=name: calls.append(
                    Call(name, module, _tensor(inputs), _tensor(output))
                )
            )
    with torch.no_grad():
        logits = network(images)
    expected = [len(images), num_classes]
    shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != expected:
        raise ValueError(f"must return logits of shape {expected} for two images, got {shape}")
    shapes = {call.name: tuple(call.output.shape[1:]) if call.output is not None else () for call in calls}
    head = next((call.name for call in calls if call.output is logits and isinstance(call.module, nn.Linear)), None)
    stages = _stages([call for call in calls if call.output is not None and call.output is not logits])
    preactivations = tuple(_preactivation(name, calls) for name in stages)
    return Layers(
        shapes,
        stages,
        preactivations,
        f"{head}{INPUT}" if head else None,
        head,
        _channels_last(calls),
        _beginning(stages, calls),
        _heads(logits, calls),
        _kinds(calls),
    )


def _beginning(stages: tuple[str, ...], calls: list[Call]) -> str | None:
    """The input of the second convolution, where it has the size of the first stage and is not its output."""
    convolutions = [call for call in calls if isinstance(call.module, nn.Conv2d)]
    if not stages or len(convolutions) < 2 or convolutions[1].input is None:
        return None
    second = convolutions[1]
    stage = next(call.output for call in reversed(calls) if call.name == stages[0])
    if second.input is None or second.input is stage or stage is None or second.input.shape[2:] != stage.shape[2:]:
        return None
    return f"{second.name}{INPUT}"


def _heads(logits: Tensor, calls: list[Call]) -> tuple[str, ...]:
    """Two dense layers whose mean the logits are."""
    dense = [
        (call.name, call.output)
        for call in calls
        if isinstance(call.module, nn.Linear) and call.output is not None and call.output.shape == logits.shape
    ]
    for (first, first_logits), (second, second_logits) in itertools.combinations(dense, 2):
        if torch.allclose((first_logits + second_logits) / 2, logits, rtol=1e-4, atol=1e-6):
            return (first, second)
    return ()


def _kinds(calls: list[Call]) -> dict[str, str]:
    """The type of each layer, and where it stands to an activation: behind one, in front of one, or being one."""
    activations = [call for call in calls if isinstance(call.module, ACTIVATIONS)]
    kinds = {}
    for call in calls:
        kind = type(call.module).__name__
        if isinstance(call.module, ACTIVATIONS):
            kind += f", its input: {call.name}{INPUT}"
        elif call.output is not None:
            behind = next((activation for activation in activations if activation.output is call.output), None)
            before = next((activation for activation in activations if activation.input is call.output), None)
            if behind is not None:
                name = type(behind.module).__name__
                kind += f", after its {name}, whose input is {behind.name}{INPUT}"
            elif before is not None:
                kind += f", before the {type(before.module).__name__} {before.name}"
        kinds[call.name] = kind
    return kinds


def _channels_last(calls: list[Call]) -> frozenset[str]:
    """Names of the layers with maps of a shape whose last side, and not the first, some layer norm normalises."""
    shapes = {
        value.shape
        for _, module, *values in calls
        if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1
        for value in values
        if value is not None and value.dim() == 4 and value.shape[3] == module.normalized_shape[0] != value.shape[1]
    }
    return frozenset(call.name for call in calls if call.output is not None and call.output.shape in shapes)


def _preactivation(stage: str, calls: list[Call]) -> str:
    """The input of the activation that ends `stage`, or of the one that follows it; else the stage itself."""
    last = {call.name: call for call in calls}  # a hook records the last call of a layer
    result = last[stage].output
    activations = [call for call in calls if isinstance(call.module, ACTIVATIONS)]
    for call in activations:
        if call.output is result and last[call.name].output is call.output:
            return f"{call.name}{INPUT}"
    norms = [call for call in calls if isinstance(call.module, NORMS) and call.input is result]
    for call in activations:
        # The activation follows directly, behind a norm, or inside one.
        follows = call.input is result or any(norm.output is call.input or norm.output is call.output for norm in norms)
        if follows and last[call.name].output is call.output:
            return f"{call.name}{INPUT}"
    for norm in norms:  # in front of an activation that is used more than once, or is a function
        in_front = isinstance(norm.module, BATCH_NORM) or any(call.input is norm.output for call in activations)
        is_activation_too = any(call.output is norm.output for call in activations)
        if in_front and last[norm.name].output is norm.output and not is_activation_too:
            return norm.name
    return stage


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def _stages(calls: list[Call]) -> tuple[str, ...]:
    """The last finished layer at each size of maps; where there is but one size, up to four, evenly spaced."""
    last = {call.name: call for call in calls}  # a hook records the last call of a layer
    # A layer that does nothing in evaluation is no stage: a transformer has many.
    working = [
        call
        for call in calls
        if call is last[call.name] and not isinstance(call.module, nn.Identity) and not _is_dropout(call.module)
    ]
    for dimensions in (4, 3, 2):
        # A map of one pixel is a vector in disguise.
        with_features = [
            call
            for call in working
            if (shape := _shape(call)) and len(shape) == dimensions and shape[2:].numel() > (dimensions > 2)
        ]
        finished = [call for call in with_features if not isinstance(call.module, UNFINISHED)] or with_features
        if dimensions == 4 and len({_shape(call)[2:] for call in finished}) > 1:
            return _last_of_each_size(finished)
        if len(finished) > 1 or (finished and dimensions == 2):
            blocks = _repeated_blocks(finished)
            count = min(MOST_BLOCKS, len(blocks))
            return tuple(blocks[round((i + 1) * len(blocks) / count) - 1] for i in range(count))
    return ()


def _shape(call: Call) -> torch.Size:
    """The shape of a call's output; empty where it is no tensor."""
    return torch.Size() if call.output is None else call.output.shape


def _is_dropout(module: nn.Module) -> bool:
    """True for dropout of any kind: PyTorch's, or stochastic depth of other libraries."""
    return isinstance(module, nn.modules.dropout._DropoutNd) or type(module).__name__ in ("DropPath", "StochasticDepth")


def _last_of_each_size(finished: list[Call]) -> tuple[str, ...]:
    """The last of the outermost layers of each size of maps, in the order in which they finish."""
    # The last of the outermost ones, as the first layers of the next block may still have the size of this one.
    chosen: dict[torch.Size, str] = {}
    for call in finished:
        size = _shape(call)[2:]
        if size not in chosen or call.name.count(".") <= chosen[size].count("."):
            chosen[size] = call.name
    outermost = min(name.count(".") for name in chosen.values())
    names = {name for name in chosen.values() if name.count(".") <= outermost + 1}
    return tuple(call.name for call in finished if call.name in names)


def _repeated_blocks(finished: list[Call]) -> list[str]:
    """The layers of the commonest type, of equally common types the outermost: blocks that a network repeats."""
    kinds = Counter(type(call.module) for call in finished)
    depths = {type(call.module): call.name.count(".") for call in finished}
    kind = max(kinds, key=lambda kind: (kinds[kind], -depths[kind]))
    return [call.name for call in finished if type(call.module) is kind]
