"""An exponential moving average of a network's weights, beside the network that trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The average of a network's weights and of its batch norms' statistics over the steps.

    average ← decay · average + (1 − decay) · weights after each step, from the weights after the first one on: what
    torch.optim.swa_utils.AveragedModel does with `get_ema_multi_avg_fn(decay)` and `use_buffers=True`. It would copy
    the network with the hooks of the modes; here tensors are averaged alone, by the same function. Counters, which are
    whole numbers, are the network's.

    Args:
        network: The network, on the device where it trains.
        decay: Above 0 and below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay, self.steps = network, decay, 0
        self._update = get_ema_multi_avg_fn(decay)
        self._names = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
        tensors = network.state_dict(keep_vars=True)
        self._sources = [tensors[name].detach() for name in self._names]
        self._average = [tensor.clone() for tensor in self._sources]
        self._kept: dict[str, Tensor] | None = None

    @torch.no_grad()
    def after_step(self) -> None:
        """Take the network's weights after a step into the average."""
        if self.steps == 0:
            torch._foreach_copy_(self._average, self._sources)
        else:
            self._update(self._average, self._sources, self.steps)
        self.steps += 1

    def weights(self) -> dict[str, Tensor]:
        """The average, and the network's other numbers, on the CPU, by the names of the network's state."""
        average = dict(zip(self._names, self._average, strict=True))
        state = self.network.state_dict()
        return {name: average.get(name, tensor).detach().cpu().clone() for name, tensor in state.items()}

    def keep(self) -> None:
        """Keep the average as it is now: that of the epoch that early stopping keeps."""
        self._kept = self.weights()

    def final_weights(self) -> dict[str, Tensor]:
        """The average that was kept last, else the one of now."""
        return self._kept or self.weights()

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as plain data and tensors."""
        average = dict(zip(self._names, [tensor.cpu() for tensor in self._average], strict=True))
        return {"steps": self.steps, "average": average, "kept": self._kept}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.steps, self._kept = state["steps"], state["kept"]
        for name, tensor in zip(self._names, self._average, strict=True):
            tensor.copy_(state["average"][name])
