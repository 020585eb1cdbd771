"""Files of weights that anyone may have written: all tensors in them by name.

safetensors and what `torch.save` writes are read. Every other kind is refused in one line that says what it is.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from kd_runner.errors import SettingsError
from kd_runner.networks import file_kinds, pickled_values
from kd_runner.networks.names_in_files import short_printable
from kd_runner.networks.torch_files import ENDS_EARLY, read_torch

DEEPEST = 64  # containers in containers
MOST_CONTAINERS = 200_000  # in one file
MOST_ITEMS = 5_000_000  # in all containers of a file; a list that is repeated makes many items of few bytes


@dataclass(frozen=True)
class Entry:
    """One tensor of a file.

    Args:
        path: The keys that lead to the tensor; the last one is its name in the state dict that holds it.
        from_numpy: True if the file has it as a NumPy array.
    """

    path: tuple[str, ...]
    tensor: Tensor
    from_numpy: bool = False

    @property
    def name(self) -> str:
        """All keys, with dots."""
        return ".".join(self.path)


def read_tensors(path: Path) -> tuple[list[Entry], dict[str, str]]:
    """All tensors of the file at `path`, and the metadata of a safetensors file.

    Raises:
        SettingsError: no such file, or not a plain file of weights; the message says what it is.
    """
    size = size_of_file(path)
    head = _head(path)
    try:
        if file_kinds.is_safetensors(head):
            return _read_safetensors(path, head, size)
        return list(_entries(read_torch(path, head, size))), {}
    except ValueError as error:
        raise unreadable_file(path, str(error)) from error


def saved_values(path: Path) -> Any:
    """The content that `torch.save` wrote to the file at `path`: containers, tensors and plain values.

    Raises:
        SettingsError: no such file, or not a plain file of torch.
    """
    size = size_of_file(path)
    try:
        return read_torch(path, _head(path), size)
    except ValueError as error:
        raise unreadable_file(path, str(error)) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(file_kinds.HEAD)


def shared_start(paths: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The keys that all paths begin with."""
    shortest = min(paths, key=len)
    count = next((i for i, key in enumerate(shortest) if any(path[i] != key for path in paths)), len(shortest))
    return tuple(shortest[:count])


def unreadable_file(path: Path, reason: str) -> SettingsError:
    """The error for a file that is not read, with the reason."""
    return SettingsError(f"{path} is not a plain weights file (safetensors, or a state dict saved by torch): {reason}")


def size_of_file(path: Path) -> int:
    """The size in bytes, where there is a file that can be opened without waiting for anyone."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            with path.open("rb"):
                return status.st_size
    except PermissionError as error:
        raise SettingsError(f"{path} must be a file that can be read: permission denied") from error
    except (OSError, ValueError) as error:
        hint = "; a file is wanted, not an address: download it first" if ":/" in str(path) else ""
        raise SettingsError(f"no file {Path.cwd() / path}{hint}") from error
    raise unreadable_file(path, f"it is {file_kinds.special(path, status.st_mode)}")


def _read_safetensors(path: Path, head: bytes, size: int) -> tuple[list[Entry], dict[str, str]]:
    reason = _too_short(path, head, size)
    if reason is not None:
        raise ValueError(reason)
    try:
        with safe_open(path, framework="pt") as file:
            entries = [Entry((name,), file.get_tensor(name)) for name in file.keys()]  # noqa: SIM118 (not a dict)
            return entries, file.metadata() or {}
    except Exception as error:  # safetensors' own errors, and torch's about dtypes
        raise ValueError(f"it is a broken safetensors file ({_short(error)})") from error


def _too_short(path: Path, head: bytes, size: int) -> str | None:
    """A sentence about a safetensors file that is shorter than its header says; None where it is not, or unreadable."""
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        return f"it has {size:,} bytes, its safetensors header says {length:,} or more: {ENDS_EARLY}"
    if length > 100_000_000:  # what safetensors itself takes
        return f"its safetensors header of {length:,} bytes is too large"
    with path.open("rb") as file:
        file.seek(8)
        header = file.read(length)
    try:
        ends = [int(value["data_offsets"][1]) for name, value in json.loads(header).items() if name != "__metadata__"]
    except Exception:  # the JSON may hold anything; safetensors says what is wrong with it
        return None
    full_size = 8 + length + max(ends, default=0)
    return f"it has {size:,} of {full_size:,} bytes: {ENDS_EARLY}" if size < full_size else None


def _entries(content: Any) -> Iterator[Entry]:
    """The tensors in nested containers, with the keys that lead to them."""
    containers = items = 0
    if not isinstance(content, (Mapping, list, tuple)):
        description = f"one tensor of {list(content.shape)}" if isinstance(content, Tensor) else type(content).__name__
        raise ValueError(f"it holds {description}, not tensors with names")

    def walk(value: Any, path: tuple[str, ...]) -> Iterator[Entry]:
        nonlocal containers, items
        if isinstance(value, Tensor):
            yield Entry(path, value)
        elif isinstance(value, pickled_values.NumpyArray):
            tensor = value.tensor()
            if tensor is not None:
                yield Entry(path, tensor, from_numpy=True)
        elif isinstance(value, (Mapping, list, tuple)):
            containers += 1
            items += len(value)
            if containers > MOST_CONTAINERS or items > MOST_ITEMS or len(path) > DEEPEST:
                raise ValueError("it holds containers in containers without end")
            for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
                if isinstance(key, (str, int)):
                    yield from walk(item, (*path, str(key)))

    entries = list(walk(content, ()))
    if not entries:
        raise ValueError(f"it holds {_first_keys(content)}, and no tensors")
    yield from entries


def _first_keys(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__} of {len(content)}"
    keys = [repr(str(key)[:40]) for key in content]
    return f"{', '.join(keys[:5])}{', …' if len(keys) > 5 else ''}" if keys else "nothing"


def _short(error: Exception) -> str:
    return short_printable(" ".join(str(error).split()), 120) or type(error).__name__
