"""Batch norms whose mean and variance are those of a whole batch, where several processes share it."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_runner.process_group import ProcessGroup, Rows


class SharedBatchNorms:
    """Lets batch norms in training mode take mean and variance over the rows of all processes.

    PyTorch's SyncBatchNorm does this on GPUs alone, and puts other modules in the place of a network's own. Here they
    stay: their `forward` is replaced while a stage trains.
    """

    def __init__(self, process_group: ProcessGroup) -> None:
        self.process_group = process_group
        self.rows: Rows | None = None  # of the batch that is computed now
        self._norms: list[_BatchNorm] = []

    def share(self, modules: Iterable[nn.Module]) -> None:
        """Share the batch norms of these modules with the other processes, if there are any."""
        if not self.process_group.are_several:
            return
        norms = (norm for module in modules for norm in module.modules() if isinstance(norm, _BatchNorm))
        self._norms = list(dict.fromkeys(norms))
        for norm in self._norms:
            norm.forward = functools.partial(self._normalise, norm)  # type: ignore[method-assign]

    def release(self) -> None:
        """Give all modules their own way back."""
        for norm in self._norms:
            del norm.forward
        self._norms = []

    def _normalise(self, norm: _BatchNorm, features: Tensor) -> Tensor:
        """The output of `norm` for this process's rows [N, C, …] of a batch."""
        if not norm.training or self.rows is None:
            return type(norm).forward(norm, features)
        precise = features.float()
        dims = [0, *range(2, features.dim())]
        own_rows = precise[: self.rows.count]
        count = self.rows.of * precise[0, 0].numel()
        shape = [1, -1, *[1] * (features.dim() - 2)]
        mean = self.process_group.sum_with_gradient(own_rows.sum(dims)) / count
        centred = precise - mean.view(shape)
        variance = self.process_group.sum_with_gradient(centred[: self.rows.count].square().sum(dims)) / count
        _remember(norm, mean.detach(), variance.detach() * count / max(1, count - 1))
        normalised = centred * (variance + norm.eps).rsqrt().view(shape)
        if norm.weight is not None:
            normalised = normalised * norm.weight.view(shape) + norm.bias.view(shape)
        return normalised.to(features.dtype)


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics of `norm` towards those of a batch, as PyTorch does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)
