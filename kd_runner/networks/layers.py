"""Which layers of any network distillation listens to when the settings name none: found by running it once."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_runner.outputs import INPUT, Role

BATCH_NORM = nn.modules.batchnorm._BatchNorm
NORMS = (BATCH_NORM, nn.LayerNorm, nn.GroupNorm)
# A stage is better heard behind its activation than right behind these.
UNFINISHED = (nn.Conv2d, BATCH_NORM, nn.Dropout, nn.Flatten, nn.Linear, nn.LayerNorm)
ACTIVATIONS = (
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh, nn.Tanh,
    nn.ELU, nn.SELU, nn.CELU,
)  # fmt: skip
MOST_BLOCKS = 4  # of a network whose features all have one size


Call = tuple[str, nn.Module, Tensor | None, Tensor | None]  # a layer's name, itself, its input and its output


@dataclass(frozen=True)
class Layers:
    """A network's layers, in the order in which they finish.

    Args:
        shapes: Of each layer's output without the batch; 'none' where that is no tensor.
        stages: Names: the last finished layer at each size of the maps, shallow to deep.
        preactivations: What goes into the activations that end the stages. Of a stage that ends in none: what goes
            into the activation that the next one begins with, which norm there may be between; else the stage.
        embedding: What the dense layer that gives the logits is fed; None where the network ends otherwise.
        head: That dense layer's name.
        channels_last: Names of layers that give [N, H, W, C], as the layer norms around them say.
    """

    shapes: dict[str, tuple[int, ...]]
    stages: tuple[str, ...]
    preactivations: tuple[str, ...]
    embedding: str | None
    head: str | None
    channels_last: frozenset[str] = frozenset()

    def of(self, role: Role) -> tuple[str, ...]:
        """The names that a role stands for.

        Raises:
            ValueError: the network has none.
        """
        if role == "embedding":
            if self.embedding is None:
                raise ValueError("must end in a dense layer, whose input is the embedding; name a layer instead")
            return (self.embedding,)
        if not self.stages:
            raise ValueError("has no layers that could be found; name them")
        if role == "map":
            return self.stages[-1:]
        if role == "hint":
            return self.stages[len(self.stages) // 2 :][:1]
        chosen = self.preactivations if role.startswith("preactivations") else self.stages
        chosen = chosen[-1:] if role == "map and embedding" else chosen
        return (*chosen, self.embedding) if role.endswith("and embedding") and self.embedding else chosen

    def sizes(self) -> dict[str, str]:
        """`shapes` in words, such as 16x8x8."""
        return {name: "x".join(map(str, shape)) or "no tensor" for name, shape in self.shapes.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name} {size}" for name, size in self.sizes().items())


def layers_of(network: nn.Module, images: Tensor, num_classes: int) -> Layers:
    """The layers of `network`, found by running a copy of it, in evaluation mode, on `images` [N, C, H, W].

    Raises:
        ValueError: it returns other than logits [N, num_classes].
    """
    network = copy.deepcopy(network).cpu().eval()
    ran: list[Call] = []  # in the order in which they finish
    for name, module in network.named_modules():
        if getattr(module, "inplace", False):
            module.inplace = False
        if name:
            module.register_forward_hook(
                lambda module, inputs, output, name=name: ran.append((name, module, _tensor(inputs), _tensor(output)))
            )
    with torch.no_grad():
        logits = network(images)
    wanted = [len(images), num_classes]
    given = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if given != wanted:
        raise ValueError(f"must return logits of shape {wanted} for two images, got {given}")
    shapes = {name: tuple(output.shape[1:]) if output is not None else () for name, _, _, output in ran}
    head = next((name for name, module, _, out in ran if out is logits and isinstance(module, nn.Linear)), None)
    stages = _stages([each for each in ran if each[3] is not None and each[3] is not logits])
    before = tuple(_preactivation(name, ran) for name in stages)
    return Layers(shapes, stages, before, f"{head}{INPUT}" if head else None, head, _channels_last(ran))


def _channels_last(ran: list[Call]) -> frozenset[str]:
    """Names of the layers that give maps of a shape whose last side, and not the first, is what a layer norm is of."""
    shapes = {
        value.shape
        for _, module, *values in ran
        if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1
        for value in values
        if value is not None and value.dim() == 4 and value.shape[3] == module.normalized_shape[0] != value.shape[1]
    }
    return frozenset(name for name, _, _, output in ran if output is not None and output.shape in shapes)


def _preactivation(stage: str, ran: list[Call]) -> str:
    """What goes into the activation that ends `stage`, or into the one that follows; else the stage itself."""
    last = {call[0]: call for call in ran}  # the call that a hook's feature is of
    result = last[stage][3]
    activations = [call for call in ran if isinstance(call[1], ACTIVATIONS)]
    for name, _, _, output in activations:
        if output is result and last[name][3] is output:
            return f"{name}{INPUT}"
    norms = [call for call in ran if isinstance(call[1], NORMS) and call[2] is result]
    normed = [output for _, _, _, output in norms]
    for name, _, inputs, output in activations:
        follows = inputs is result or any(value is inputs or value is output for value in normed)  # or is inside a norm
        if follows and last[name][3] is output:
            return f"{name}{INPUT}"
    for name, norm, _, output in norms:  # in front of an activation that is used more than once, or is a function
        in_front = isinstance(norm, BATCH_NORM) or any(inputs is output for _, _, inputs, _ in activations)
        if in_front and last[name][3] is output and not any(call[3] is output for call in activations):
            return name
    return stage


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, tuple) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def _stages(ran: list[Call]) -> tuple[str, ...]:
    """The last finished layer at each size of maps; where there is but one size, up to four, evenly spaced."""
    last = {call[0]: call for call in ran}  # a layer that is used more than once is heard the last time
    # What does nothing in evaluation is no layer: a transformer has many.
    working = [
        call for call in ran if call is last[call[0]] and not isinstance(call[1], nn.Identity) and not _drops(call[1])
    ]
    for dimensions in (4, 3, 2):
        found = [(name, module, output) for name, module, _, output in working if output is not None]
        # A map of one pixel is a vector in disguise.
        found = [each for each in found if each[2].dim() == dimensions and each[2].shape[2:].numel() > (dimensions > 2)]
        finished = [each for each in found if not isinstance(each[1], UNFINISHED)] or found
        if dimensions == 4 and len({output.shape[2:] for _, _, output in finished}) > 1:
            return _last_of_each_size(finished)
        if len(finished) > 1 or (finished and dimensions == 2):
            blocks = _alike(finished)
            wanted = min(MOST_BLOCKS, len(blocks))
            return tuple(blocks[round((i + 1) * len(blocks) / wanted) - 1] for i in range(wanted))
    return ()


def _drops(module: nn.Module) -> bool:
    """Whether the module is dropout of any kind: PyTorch's, or stochastic depth of other libraries."""
    return isinstance(module, nn.modules.dropout._DropoutNd) or type(module).__name__ in ("DropPath", "StochasticDepth")


def _last_of_each_size(finished: list[tuple[str, nn.Module, Tensor]]) -> tuple[str, ...]:
    # The outermost layers of a size, of these the last: the first layers of the next block may still have its size.
    chosen: dict[torch.Size, str] = {}
    for name, _, output in finished:
        size = output.shape[2:]
        if size not in chosen or name.count(".") <= chosen[size].count("."):
            chosen[size] = name
    outermost = min(name.count(".") for name in chosen.values())
    names = {name for name in chosen.values() if name.count(".") <= outermost + 1}
    return tuple(name for name, _, _ in finished if name in names)


def _alike(finished: list[tuple[str, nn.Module, Tensor]]) -> list[str]:
    """The layers of the commonest type, of these the outermost: the blocks of a network that repeats one."""
    kinds = Counter(type(module) for _, module, _ in finished)
    depths = {type(module): name.count(".") for name, module, _ in finished}
    kind = max(kinds, key=lambda kind: (kinds[kind], -depths[kind]))
    return [name for name, module, _ in finished if type(module) is kind]
