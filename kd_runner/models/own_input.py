"""A network with its own normalisation, channels and size of the images that a run shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OwnInput(nn.Module):
    """A network that sees the images of a run, [N, C, H, W], in its own way; it returns logits [N, K].

    All networks of a run are shown the same batch, augmented once and normalised with the run's mean and std. This one
    takes that back and normalises with its own, gives gray images the channels that it wants, and scales them to its
    own size, bilinearly and with antialiasing. `sees` says what the images are normalised with; it is kept with the
    weights.

    Args:
        network: The network for images of `own_shape(image_shape, …)`.
        image_shape: (channels, height, width) of the run's images.
        mean, std: Mean and standard deviation of pixels from 0 to 1, one number or one for each channel; None: those of
            the run.
        size: Side of its images, or (height, width), in pixels; None: as the run has it.
        channels: Number of channels; None: that of the run's images.

    Raises:
        ValueError: other channels than the images have, where these are not gray; another number of values.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        image_shape: Sequence[int],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: int | Sequence[int] | None = None,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        image_channels = image_shape[0]
        own_channels, *own_size = own_shape(image_shape, mean, std, size, channels)
        if image_channels != 1:
            if channels not in (None, image_channels):
                raise ValueError(
                    f"channels must be {image_channels}, those of the images, which are not gray, got {channels}"
                )
            own_channels = image_channels
        for name, values in (("mean", mean), ("std", std)):
            if values is not None and len(values) not in (1, own_channels):
                raise ValueError(f"{name} must be one number or {own_channels}, one a channel, got {list(values)}")
        self.mean, self.std = mean, std
        self.size = tuple(own_size) if list(own_size) != list(image_shape[1:]) else None
        self.normalises = mean is not None or std is not None or own_channels != image_channels
        self.register_buffer("scale", torch.ones(own_channels, 1, 1))
        self.register_buffer("shift", torch.zeros(own_channels, 1, 1))

    def sees(self, mean: Tensor, std: Tensor) -> None:
        """Take images that are normalised with this mean and std, each [C] or [1], of pixels from 0 to 1."""
        seen_mean, seen_std = (values.detach().cpu().double() for values in (mean, std))
        own_mean = seen_mean if self.mean is None else torch.tensor(self.mean, dtype=torch.float64)
        own_std = seen_std if self.std is None else torch.tensor(self.std, dtype=torch.float64)
        for buffer, values in ((self.scale, seen_std / own_std), (self.shift, (seen_mean - own_mean) / own_std)):
            buffer.copy_(values.float().expand(len(buffer)).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.normalises:
            images = images * self.scale + self.shift
        if self.size is not None:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        logits: Tensor = self.network(images)
        return logits

    @staticmethod
    def offered_inside(node: Mapping[str, Any], offered: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that `build` offers to the network inside, whose images have its own shape."""
        own_input = {name: node.get(name) for name in ("mean", "std", "size", "channels")}
        return {**offered, "image_shape": own_shape(offered["image_shape"], **own_input)}


def own_shape(
    image_shape: Sequence[int],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
) -> tuple[int, ...]:
    """(channels, height, width) of a network's own images; without `channels`, a mean or std of several says it."""
    image_channels, *sides = image_shape
    if size is not None:
        sides = [size, size] if isinstance(size, int) else list(size)
    several = [len(values) for values in (mean, std) if values is not None and len(values) > 1]
    return (channels or (several[0] if several else image_channels), *sides)


def inner(network: nn.Module) -> nn.Module:
    """The network itself, without its own input."""
    return network.network if isinstance(network, OwnInput) else network
