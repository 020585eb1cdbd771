"""A copy of a teacher's dense layer for a mode that reads with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class DenseCopy(nn.Module):
    """A layer as it is, neither trained nor saved: it goes with the mode to its device.

    The layer itself is not kept: jobs side by side share one teacher, and the own teacher of each stays on the CPU.

    Args:
        layer: A dense layer, or one of a class of its own that computes something else of its weights.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        # In a list, where nn.Module does not look for modules: what is trained and what is saved stay as they are.
        self._layers = [copy.deepcopy(layer).requires_grad_(False).eval()]

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> DenseCopy:  # what .to() and its like call
        for layer in self._layers:
            layer._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    @property
    def weight(self) -> Tensor:
        """[K, C]."""
        return self._layers[0].weight

    @property
    def bias(self) -> Tensor | None:
        """[K], or None."""
        return self._layers[0].bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [N, K] of inputs [N, C], as the layer gives them."""
        outputs: Tensor = self._layers[0](inputs)
        return outputs
