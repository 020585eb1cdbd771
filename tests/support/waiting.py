"""Steps that must wait for no GPU, shown on a machine without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
# Operations whose result the CPU must know before it goes on: a number, or how many there are.
READS = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal, aten._unique2,
    aten.unique_consecutive, aten.unique_dim, aten.repeat_interleave, aten.bincount,
}  # fmt: skip
COPIES = {aten._to_copy, aten.copy_}


class Waits(AssertionError):
    """Something that makes the CPU wait for the GPU."""


class NoWaiting(TorchDispatchMode):
    """Inside, Waits is raised for an operation that would wait for the device.

    Args:
        device: Type of the device: tensors there are a GPU's, and others may be looked at. 'meta' stands for a GPU,
            with shapes and no numbers. With 'cpu' every tensor counts as a GPU's.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.counts: dict[str, int] = {}
        self.pinned: list[Tensor] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = function.overloadpacket
        self.counts[str(packet)] = self.counts.get(str(packet), 0) + 1
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if tensor.device.type == self.device]
        if there and (packet in READS or (packet is aten.index and _has_mask(args))):
            raise Waits(f"{function} reads numbers of the device")
        if self.device != "cpu":
            self._check_transfer(function, packet, tensors, there, args, kwargs)
        return function(*args, **kwargs)

    def _check_transfer(
        self, function: Any, packet: Any, tensors: list[Tensor], there: list[Tensor], args: Any, kwargs: Any
    ) -> None:
        if packet in COPIES:
            if packet is aten.copy_:
                target, source, is_async = args[0].device, args[1], len(args) > 2 and args[2]
            else:
                target, source = torch.device(kwargs.get("device") or args[0].device), args[0]
                is_async = kwargs.get("non_blocking", False)
            if source.device.type == target.type:
                return
            if source.device.type == self.device:
                raise Waits(f"{function} copies to the CPU")
            is_number = packet is aten.copy_ and source.dim() == 0  # an argument of a kernel
            if not is_number and not (is_async and self._is_pinned(source)):
                raise Waits(f"{function} copies to the device from memory that is not pinned, or waits")
        elif there and any(tensor.device.type != self.device and tensor.dim() for tensor in tensors):
            raise Waits(f"{function} has tensors on two devices")

    def _is_pinned(self, source: Tensor) -> bool:
        return any(source.untyped_storage().data_ptr() == kept.untyped_storage().data_ptr() for kept in self.pinned)

    def pin(self, values: Tensor) -> Tensor:
        """In place of Tensor.pin_memory, which needs a GPU."""
        self.pinned.append(values.clone())
        return self.pinned[-1]


@contextmanager
def no_waiting(device: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[NoWaiting]:
    """Inside, whatever would wait for a GPU raises Waits; tensors of `device` are a GPU's."""
    mode = NoWaiting(device)
    make = torch.tensor

    def make_and_check(*args: Any, **kwargs: Any) -> Tensor:
        values = make(*args, **kwargs)
        if values.device.type == device != "cpu":
            raise Waits("torch.tensor copies to the device from memory that is not pinned, and waits")
        return values

    with monkeypatch.context() as patch, mode:
        patch.setattr(torch, "tensor", make_and_check)
        patch.setattr(Tensor, "pin_memory", lambda values: mode.pin(values))
        yield mode


def _has_mask(args: Any) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
