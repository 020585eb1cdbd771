"""Optimizers that PyTorch does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class DOT(torch.optim.Optimizer):
    """SGD with one momentum for the label loss and a larger one for the distillation loss.

    Distillation-oriented trainer (Zhao et al. 2023, "DOT: A Distillation-Oriented Trainer", arXiv:2307.08436,
    equations 6 to 8): v ← g + (μ ∓ δ) v for each loss, θ ← θ − lr · Σ v. The larger momentum keeps the distillation
    loss from being drowned by the label loss. What only one loss moves has the momentum μ, so that a stage on labels
    alone (the baseline) trains by plain SGD. Weight decay belongs to the label loss.

    Args:
        momentum: μ.
        delta: δ: 0.075 in the paper for CIFAR-100, 0.09 for ImageNet.

    Raises:
        ValueError: μ − δ below 0, or μ + δ not below 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        delta: float = 0.075,
        weight_decay: float = 0.0,
    ) -> None:
        if not 0 <= delta <= momentum or momentum + delta >= 1:
            raise ValueError(
                f"delta must leave momentum - delta at 0 or more and momentum + delta below 1, got {delta:g} "
                f"with momentum {momentum:g}"
            )
        if lr < 0 or weight_decay < 0:
            raise ValueError(f"lr and weight_decay must be 0 or more, got {lr:g} and {weight_decay:g}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "delta": delta, "weight_decay": weight_decay})
        self._kept: dict[str, dict[Tensor, Tensor]] = {}

    def keep(self, name: str) -> None:
        """Take over the gradients as they are, as those of the loss `name`."""
        self._kept[name] = {
            parameter: parameter.grad
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step along the gradients that were kept since the last step, or along those there are."""
        if not self._kept:
            self.keep("label_loss")
        kept, self._kept = self._kept, {}
        distilled = kept.pop("distillation_loss", {})
        labelled = {parameter: gradient for gradients in kept.values() for parameter, gradient in gradients.items()}
        for group in self.param_groups:
            for parameter in group["params"]:
                task, teacher = labelled.get(parameter), distilled.get(parameter)
                if task is None and teacher is None:
                    continue
                delta = group["delta"] if task is not None and teacher is not None else 0.0
                decayed = False
                for name, gradient, momentum in (
                    ("task_momentum", task, group["momentum"] - delta),
                    ("distillation_momentum", teacher, group["momentum"] + delta),
                ):
                    if gradient is None:
                        continue
                    if group["weight_decay"] and not decayed:
                        gradient, decayed = gradient.add(parameter, alpha=group["weight_decay"]), True
                    state = self.state[parameter]
                    state[name] = gradient + momentum * state[name] if name in state else gradient.clone()
                    parameter.sub_(group["lr"] * state[name])
