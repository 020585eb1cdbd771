"""What a network says about a batch: its logits and the activations of the layers that were asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class Outputs:
    """logits: [N, K], unnormalised. features: activations by layer name, in the order asked for."""

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)

    def float(self) -> Outputs:
        """The same in float32, in which every loss is computed."""
        if not self.features and self.logits.dtype == torch.float32:
            return self
        return Outputs(self.logits.float(), {name: value.float() for name, value in self.features.items()})


class Observed:
    """Calls `network` and returns Outputs, with the activations of `layers` taken by forward hooks.

    Not an nn.Module on purpose: an observed teacher never becomes part of what a student saves or trains.

    Raises:
        ValueError: a name in `layers` is no submodule of `network`.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] = ()) -> None:
        self.network = network
        self.call: Callable[[Tensor], Tensor] = network  # a faster way to the same logits may take its place
        self.layers = tuple(layers)
        self._features: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        modules = {name: module for name, module in network.named_modules() if name}
        for layer in layers:
            if layer not in modules:
                close = difflib.get_close_matches(layer, modules, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise ValueError(f"no layer {layer!r}{hint}; the network's layers are {', '.join(modules)}")
            self._hooks.append(modules[layer].register_forward_hook(self._keep(layer)))
        if layers:
            for module in modules.values():
                if getattr(module, "inplace", False):
                    module.inplace = False  # or it would overwrite what the layer before it gave

    def _keep(self, layer: str):
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._features[layer] = output

        return hook

    def release(self) -> None:
        """Take the hooks off the network."""
        for hook in self._hooks:
            hook.remove()

    def __call__(self, images: Tensor) -> Outputs:
        logits = self.call(images)
        features, self._features = self._features, {}
        return Outputs(logits, features)
