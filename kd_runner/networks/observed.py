"""A network whose layers' activations are recorded by hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kd_runner.outputs import INPUT, Outputs
from kd_runner.suggestions import did_you_mean


class Observed:
    """A network that returns Outputs: its logits, and the activations of `layers`, taken by forward hooks.

    Not an nn.Module on purpose: an observed teacher never becomes part of what a student saves or trains.

    Args:
        layers: Names of submodules; a name with '.input' behind it stands for the submodule's input.

    Raises:
        ValueError: a name in `layers` is no submodule of `network`.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] = ()) -> None:
        self.network = network
        self.call: Callable[[Tensor], Tensor] = network  # a faster call with the same logits may replace it
        self.layers = tuple(dict.fromkeys(layers))
        self._features: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        modules = {name: module for name, module in network.named_modules() if name}
        for layer in self.layers:
            name = layer.removesuffix(INPUT)
            if name not in modules:
                raise ValueError(f"no layer {layer!r}{did_you_mean(name, modules)}")
            if layer.endswith(INPUT) and layer not in modules:
                self._hooks.append(modules[name].register_forward_pre_hook(self._record_input(layer)))
            else:
                self._hooks.append(modules[name].register_forward_hook(self._record(layer)))
        if layers:
            for module in modules.values():
                if getattr(module, "inplace", False):
                    module.inplace = False  # or it would overwrite the output of the layer before it

    def _record(self, layer: str):
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._features[layer] = output

        return hook

    def _record_input(self, layer: str):
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
        # In the order of `layers`, in whatever order the network runs.
        return Outputs(logits, {name: features[name] for name in self.layers if name in features})
