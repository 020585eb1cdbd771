"""Tensors of a file in the dtypes and shapes of a network; a tensor that is of no use as a weight is refused."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_runner.errors import SettingsError
from kd_runner.networks.candidates import COUNTER, Candidate
from kd_runner.networks.names_in_files import first_names, short_printable


def convert_tensors(
    candidate: Candidate, targets: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The candidate's tensors as the network wants them, and sentences about what had to be converted.

    Args:
        targets: The network's own state dict.
        source: The setting and the file, for messages.

    Raises:
        SettingsError: a tensor is not a dense one of such numbers, or has values that are NaN or infinite.
    """
    state: dict[str, Tensor] = {}
    notes: dict[str, list[str]] = {}
    for name, target in targets.items():
        entry = candidate.tensors.get(name)
        if entry is None:
            state[name] = target
            notes.setdefault("counters of batch norms are not in the file and start at 0", []).append(name)
            continue
        tensor = entry.tensor
        description = f"{source}: {short_printable(entry.name)}"
        _refuse_unusable(tensor, target, description)
        if entry.from_numpy:
            notes.setdefault("NumPy arrays are read as tensors", []).append(name)
        if tensor.dtype != target.dtype:
            notes.setdefault(f"{_dtype(tensor)} is read as {_dtype(target)}", []).append(name)
        if tensor.shape != target.shape:
            notes.setdefault(f"{list(tensor.shape)} is read as {list(target.shape)}", []).append(name)
        state[name] = tensor.detach().to(target.dtype).reshape(target.shape)
        _refuse_infinite(state[name], target, description)
    return state, [f"{text}: {first_names(names, 1)}" for text, names in notes.items()]


def _refuse_unusable(tensor: Tensor, target: Tensor, description: str) -> None:
    kind = None
    if type(tensor) not in (Tensor, nn.Parameter):
        kind = f"of class {type(tensor).__name__}"
    elif tensor.is_meta:
        kind = "on the meta device, without values"
    elif tensor.is_quantized:
        kind = "quantized"
    elif tensor.layout != torch.strided:
        kind = "sparse"
    elif tensor.is_nested:
        kind = "nested"
    elif target.is_floating_point() != tensor.is_floating_point() and not description.endswith(COUNTER):
        kind = f"of {_dtype(tensor)}"
    if kind is not None:
        raise SettingsError(f"{description} must be a dense tensor of {_dtype(target)} or like it, is {kind}")


def _refuse_infinite(tensor: Tensor, target: Tensor, description: str) -> None:
    if not tensor.is_floating_point() or torch.isfinite(tensor).all():
        return
    # A mask of a network's own may hold infinities; a weight may not.
    if torch.isnan(tensor).any() or torch.isfinite(target).all():
        count = int((~torch.isfinite(tensor)).sum())
        raise SettingsError(f"{description} must be finite, has {count:,} values that are NaN or infinite")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
