"""A network with fewer channels in some of its layers, as pruning leaves it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm


def narrowed(network: nn.Module, outputs: dict[str, int], inputs: dict[str, int]) -> nn.Module:
    """`network` with other numbers of channels in its layers, and with new weights there.

    Layers are convolutions (depthwise ones, too), dense layers and batch norms.

    Args:
        outputs: The number of channels that a layer gives, 1 or more, by the layer's name.
        inputs: The number of channels that a layer reads, in the same way.

    Raises:
        ValueError: no such layer, or a number of channels that is not from 1 to what the layer has.
    """
    layers = dict(network.named_modules())
    for key in {**outputs, **inputs}:
        layer: Any = layers.get(key)
        if not isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd, BATCH_NORM)):
            raise ValueError(f"outputs and inputs must name convolutions, dense layers and batch norms, got {key!r}")
        if isinstance(layer, BATCH_NORM):
            _set_features(layer, key, outputs[key])
        else:
            _set_channels(layer, key, outputs.get(key), inputs.get(key))
    return network


def _set_features(layer: Any, key: str, features: int) -> None:
    _check(key, features, layer.num_features)
    layer.num_features = features
    for name, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if tensor.dim():
            _replace(layer, name, tensor[:features])


def _set_channels(layer: Any, key: str, outputs: int | None, inputs: int | None) -> None:
    kind = "features" if isinstance(layer, nn.Linear) else "channels"
    is_depthwise = getattr(layer, "groups", 1) > 1
    if outputs is not None:
        _check(key, outputs, getattr(layer, f"out_{kind}"))
        setattr(layer, f"out_{kind}", outputs)
        for name, tensor in layer.named_parameters(recurse=False):
            _replace(layer, name, tensor[:outputs])
    if is_depthwise:
        layer.groups = layer.in_channels = layer.out_channels
    elif inputs is not None:
        _check(key, inputs, getattr(layer, f"in_{kind}"))
        setattr(layer, f"in_{kind}", inputs)
        _replace(layer, "weight", layer.weight[:, :inputs])


def _check(key: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ValueError(
            f"outputs and inputs must be from 1 to the channels that a layer has, got {count} of {most} in {key}"
        )


def _replace(layer: Any, name: str, tensor: torch.Tensor) -> None:
    value = tensor.detach().clone()
    is_parameter = name in layer._parameters
    setattr(layer, name, nn.Parameter(value) if is_parameter else value)
