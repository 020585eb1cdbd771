"""Images that are made from a trained network alone: what a maker is given, and what all makers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from kd_runner.tensors import evaluation_mode


@dataclass(frozen=True)
class Source:
    """A trained network, from which images are made.

    Args:
        network: The network, which is not changed.
        normalise: A function from pixels [N, C, H, W] in [0, 1] to the network's input.
        image_shape: Channels, height and width.
        num_classes: The number of classes K.
        head: The name of the dense layer that gives the logits; None where the network ends in no such layer.
        device: The device of the network.
        tell: A function that is given a line now and then, on how far the making is.
    """

    network: nn.Module
    normalise: Callable[[Tensor], Tensor]
    image_shape: Sequence[int]
    num_classes: int
    head: str | None
    device: torch.device
    tell: Callable[[str], None]


@dataclass(frozen=True)
class MakingCost:
    """The passes that the making of images takes.

    Args:
        passes: Images that pass through the trained network, each forwards and back to its pixels.
        generator: A network of the maker's own; None where it has none.
        generator_input: The generator's input for one image.
        generator_forwards, generator_backwards: Images that pass through the generator.
    """

    passes: int
    generator: nn.Module | None = None
    generator_input: Tensor | None = None
    generator_forwards: int = 0
    generator_backwards: int = 0


class ImageMaker(Protocol):
    """The interface of a maker: `DAFL` or `DeepInversion`.

    Its random numbers are those of PyTorch's global generator, which the caller seeds. A maker may have a method
    `cost(image_shape)`, which returns a `MakingCost`; without one the budget of the student is not known.
    """

    images: int

    def check(self, network: nn.Module) -> None:
        """Raise ValueError where no images can be made from such a network."""

    def __call__(self, source: Source) -> Tensor:
        """The images, uint8 [images, C, H, W], on the CPU."""


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Keep the network in evaluation mode in this block, and compute no gradient of its weights."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with evaluation_mode(network):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def inputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the inputs of the modules in a list during this block; the caller empties it before each pass."""
    seen: list[Tensor] = []
    hooks = [module.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0])) for module in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def as_bytes(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] as uint8."""
    return pixels.detach().clamp(0, 1).mul(255).round().to(torch.uint8)


def is_told(step: int, steps: int) -> bool:
    """True after every tenth part of the steps; `step` counts from 1."""
    return step == steps or step * 10 // steps != (step - 1) * 10 // steps
