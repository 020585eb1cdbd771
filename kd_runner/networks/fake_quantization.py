"""Quantization-aware training: layers that compute with numbers of 8 bits, rounded as an int8 export rounds them.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv:1712.05877, section 3: forward with rounded weights and activations, gradients straight through the rounding.

PyTorch's and torchao's tools for this were tried on paper and left: torch.ao.quantization renames the weights and is to
be removed; torchao's works on a graph of torch.export, which has none of the layers that modes listen to. The operators
of the rounding are PyTorch's own, and in all its versions. Only the class of a layer changes: its weights, their names
and its hooks stay, so that what is saved is an ordinary network in float32.

A scale by output channel is the same before and behind a batch norm that is folded into the convolution, so nothing is
folded here. The range of activations is that of the batch: no state to save, and an export reads it from more images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_WEIGHT, LARGEST_ACTIVATION = 127, 255  # the largest whole numbers: of signed weights, and of activations
SMALLEST_SCALE = 1e-8  # of a layer whose input or weights are all zero


def rounded_activations(values: Tensor) -> Tensor:
    """`values` rounded to the 256 steps between their least, or 0, and their largest, or 0."""
    floats = values.float()
    with torch.no_grad():
        low, high = torch.aminmax(floats.detach())
        low, high = low.clamp_max(0), high.clamp_min(0)
        scale = ((high - low) / LARGEST_ACTIVATION).clamp_min(SMALLEST_SCALE)
        zero = (-low / scale).round().clamp(0, LARGEST_ACTIVATION).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(floats, scale, zero, 0, LARGEST_ACTIVATION).to(values.dtype)


def rounded_weights(weights: Tensor) -> Tensor:
    """Weights [outputs, …] rounded to 255 steps around 0, by output."""
    floats = weights.float()
    with torch.no_grad():
        scale = (floats.detach().flatten(1).abs().amax(1) / LARGEST_WEIGHT).clamp_min(SMALLEST_SCALE)
        zero = torch.zeros_like(scale, dtype=torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(floats, scale, zero, 0, -LARGEST_WEIGHT, LARGEST_WEIGHT)
    return rounded.to(weights.dtype)


class RoundedConv2d(nn.Conv2d):
    """A convolution whose input and weights are rounded."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(rounded_activations(input), rounded_weights(self.weight), self.bias)


class RoundedLinear(nn.Linear):
    """A dense layer whose input and weights are rounded."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(rounded_activations(input), rounded_weights(self.weight), self.bias)


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: RoundedConv2d, nn.Linear: RoundedLinear}


def round_layers(network: nn.Module) -> int:
    """Have convolutions and dense layers of `network` compute with 8 bits from now on; returns how many do.

    Layers of other kinds stay as they are, also those derived from these two, whose computation may be another.
    """
    count = 0
    for module in network.modules():
        kind = ROUNDED.get(type(module))
        if kind is not None:
            module.__class__ = kind
        count += type(module) in ROUNDED.values()
    return count
