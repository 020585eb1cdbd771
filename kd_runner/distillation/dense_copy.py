"""A copy of a teacher's dense layer for a mode that reads with it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class DenseCopy(nn.Module):
    """The weights of `layer` as they are, neither trained nor saved: they go with the mode to its device.

    The layer itself is not kept: jobs side by side share one teacher, and the own teacher of each stays on the CPU.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            values = getattr(layer, name)
            self.register_buffer(name, None if values is None else values.detach().clone(), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [N, K] of inputs [N, C], as the layer gives them."""
        return F.linear(inputs, self.weight, self.bias)
