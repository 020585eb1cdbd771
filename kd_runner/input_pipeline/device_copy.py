"""Copies from the CPU to the device of a run, for which no step waits."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; those of the CPU are copied from pinned memory, which a GPU fetches while the CPU goes on.

    Order and random numbers are made on the CPU, where they cost nothing to look at. A plain copy of them to a GPU
    would wait until the GPU has done all that it was asked for before.
    """
    if values.device.type == device.type:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
