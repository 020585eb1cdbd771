"""The memory that a network needs to predict: its weights, and the tensors that are there at the same time."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(network: nn.Module, images: Tensor) -> int | None:
    """The largest number of bytes during a forward pass of images [N, C, H, W]: weights, images and other tensors.

    On a GPU its allocator counts, with what libraries take for themselves. On a CPU the tensors are counted that
    operators return, so the number is the same on every machine; scratch memory inside an operator is not in it. None
    where it cannot be counted.
    """
    network.eval()
    weights = sum(tensor.nbytes for tensor in {*network.parameters(), *network.buffers()})
    resident = weights + images.nbytes
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
        torch.cuda.reset_peak_memory_stats(images.device)
        before = torch.cuda.memory_allocated(images.device)
        with torch.inference_mode():
            network(images)
        torch.cuda.synchronize(images.device)
        return torch.cuda.max_memory_allocated(images.device) - before + resident
    try:
        with torch.no_grad(), _LiveTensors([*network.parameters(), *network.buffers(), images]) as live:
            network(images)
    except Exception:  # anyone's network, which has run without the count
        return None
    return live.most + resident


class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that operators return, as long as they are there.

    Args:
        known: Tensors that are not counted.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        for value in tree_leaves(output):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._seen:
            return
        self._seen.add(address)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._seen.discard(address)
        self.now -= size
