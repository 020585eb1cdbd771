"""Optimizers that PyTorch does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class DOT(torch.optim.Optimizer):
    """SGD with one momentum for the label loss and a larger one for the distillation loss.

    Distillation-oriented trainer (Zhao et al. 2023, "DOT: A Distillation-Oriented Trainer", arXiv:2307.08436,
    equations 6 to 8): v ← g + (μ ∓ δ) · v for each loss, θ ← θ − lr · Σ v. With the larger momentum, the label loss
    does not drown the distillation loss. A weight with the gradient of one loss only has the momentum μ, so that a
    stage on labels alone (the baseline) trains by plain SGD. Weight decay belongs to the label loss.

    Args:
        params: Weights, or groups of weights, as for PyTorch's optimizers.
        lr: Learning rate, 0 or more.
        momentum: μ.
        delta: δ, at most μ, with μ + δ below 1: 0.075 in the paper for CIFAR-100, 0.09 for ImageNet.
        weight_decay: Factor of the weights that is added to the gradient of the label loss, 0 or more.

    Raises:
        ValueError: a setting outside its range.
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
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value:g}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "delta": delta, "weight_decay": weight_decay})
        self._gradients: dict[str, dict[Tensor, Tensor]] = {}

    def keep(self, name: str) -> None:
        """Keep the gradients that the weights have now for the next step, as those of the loss `name`.

        Args:
            name: `distillation_loss`, or the name of any other loss, all of which count as label losses.
        """
        self._gradients[name] = {
            parameter: parameter.grad
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step along the gradients that were kept since the last step; without any, along the weights' gradients."""
        if not self._gradients:
            self.keep("label_loss")
        by_loss, self._gradients = self._gradients, {}
        of_distillation = by_loss.pop("distillation_loss", {})
        of_labels = {parameter: gradient for gradients in by_loss.values() for parameter, gradient in gradients.items()}
        for group in self.param_groups:
            for parameter in group["params"]:
                self._step_one(parameter, of_labels.get(parameter), of_distillation.get(parameter), group)

    def _step_one(
        self,
        parameter: Tensor,
        label_gradient: Tensor | None,
        distillation_gradient: Tensor | None,
        group: dict[str, Any],
    ) -> None:
        """Move one weight along the gradients that it has of the two losses."""
        delta = group["delta"] if label_gradient is not None and distillation_gradient is not None else 0.0
        # The label loss comes first, so that the weight decay goes with it where both losses have a gradient.
        weight_decay = group["weight_decay"]
        for name, gradient, momentum in (
            ("task_momentum", label_gradient, group["momentum"] - delta),
            ("distillation_momentum", distillation_gradient, group["momentum"] + delta),
        ):
            if gradient is None:
                continue
            if weight_decay:
                gradient, weight_decay = gradient.add(parameter, alpha=weight_decay), 0.0
            state = self.state[parameter]
            state[name] = gradient + momentum * state[name] if name in state else gradient.clone()
            parameter.sub_(group["lr"] * state[name])


class MaxNormSGD(torch.optim.SGD):
    """SGD that keeps the length of each unit's incoming weights at or below a limit.

    Max-norm, with dropout (Hinton et al. 2012, arXiv:1207.0580, section 2): after each step, weights of a unit that
    are longer than `max_norm` are scaled to that length. Dense and convolutional weights have units along their first
    dimension; biases and norms, with one dimension, are left alone.

    Args:
        params: Weights, or groups of weights, as for PyTorch's optimizers.
        lr: Learning rate, 0 or more.
        max_norm: The largest length of a unit's weights, above 0.
        momentum, weight_decay, nesterov: Arguments of torch.optim.SGD.

    Raises:
        ValueError: a setting outside its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        max_norm: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if max_norm <= 0:
            raise ValueError(f"max_norm must be above 0, got {max_norm:g}")
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
        self.max_norm = max_norm

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """A step of SGD, after which weights that are too long are scaled."""
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() > 1 and parameter.grad is not None:
                    parameter.copy_(torch.renorm(parameter, 2, 0, self.max_norm))
