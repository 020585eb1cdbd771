"""Files of weights that anyone may have written: all tensors in them by name.

safetensors and what `torch.save` writes are read. Every other kind is refused in one line that says what it is.
"""

from __future__ import annotations

import json
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from kd_runner.errors import SettingsError
from kd_runner.networks import file_kinds, pickle_requests, pickled_values

DEEPEST = 64  # containers in containers
MOST_CONTAINERS = 200_000  # in one file
MOST_ITEMS = 5_000_000  # in all containers of a file; a list that is repeated makes many items of few bytes
MOST_TIMES = 20  # the unpacked records of a torch file over the file's size; torch does not compress
SAVE_AGAIN = "torch reads none but its own: torch.save(state_dict, 'plain.pth') saves it plainly"
ENDS_EARLY = "it ends early or is damaged: the download or copy was cut short"


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
    size = _size_of_a_file(path)
    head = _head(path)
    try:
        if file_kinds.is_safetensors(head):
            return _read_safetensors(path, head, size)
        return list(_entries(_read_torch(path, head, size))), {}
    except ValueError as error:
        raise unreadable_file(path, str(error)) from error


def saved_values(path: Path) -> Any:
    """The content that `torch.save` wrote to the file at `path`: containers, tensors and plain values.

    Raises:
        SettingsError: no such file, or not a plain file of torch.
    """
    size = _size_of_a_file(path)
    try:
        return _read_torch(path, _head(path), size)
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


def printable(text: str, length: int = 100) -> str:
    """A text from a file as one line: a file must not control the terminal of a person who reads a message."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def first_names(names: Sequence[str], count: int) -> str:
    """The first `count` of a file's names, and the number of the remaining ones."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(printable(name) for name in names[:count]) + more


def unreadable_file(path: Path, reason: str) -> SettingsError:
    """The error for a file that is not read, with the reason."""
    return SettingsError(f"{path} is not a plain weights file (safetensors, or a state dict saved by torch): {reason}")


def _size_of_a_file(path: Path) -> int:
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


def _read_torch(path: Path, head: bytes, size: int) -> Any:
    kind = file_kinds.kind_of(path, head)
    if kind is not None:
        raise ValueError(kind)
    if head.startswith(b"PK"):
        _check_records(path, size)
    elif not head.startswith(pickle_requests.LEGACY_MAGIC, 2):
        raise ValueError(_reason(path, f"it is a pickle that torch.save did not write, and {SAVE_AGAIN}"))
    try:
        allowed = torch.serialization.safe_globals(pickled_values.allowed_stand_ins())
        with (
            warnings.catch_warnings(),
            allowed,
            path.open("rb") as file,
        ):  # an open file, as torch would judge a path by its ending
            warnings.simplefilter("ignore")  # torch's warnings describe its own internals
            return torch.load(file, map_location="cpu", weights_only=True)
    # torch's readers raise errors of any kind on unexpected bytes. torch's messages explain how to run the file's
    # code all the same; ours do not.
    except Exception as error:
        full = isinstance(error, MemoryError) or "allocate memory" in str(error)
        raise ValueError(_reason(path, "it does not fit into memory" if full else ENDS_EARLY)) from error


def _check_records(path: Path, size: int) -> None:
    """Refuse a zip archive that is no torch file, or whose records would fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except Exception as error:  # zipfile raises errors of any kind, too
        raise ValueError(f"it looks like a torch file, but {ENDS_EARLY}") from error
    kind = file_kinds.kind_of_zip(path, [record.filename for record in records])
    if kind is not None:
        raise ValueError(kind)
    if sum(record.file_size for record in records) > MOST_TIMES * size + 2**20:
        raise ValueError(f"unpacked it is more than {MOST_TIMES} times larger, which torch.save does not write")


def _reason(path: Path, otherwise: str) -> str:
    """The reason why a file with pickles is not read: the code that it asks for; `otherwise` where it asks for none."""
    requests = _requested_globals(path)
    if requests is None or not requests.names:
        if requests is not None and requests.protocol > 2 and otherwise == ENDS_EARLY:
            return f"its pickle has protocol {requests.protocol}, torch reads 2: save it without pickle_protocol"
        return otherwise
    if requests.suspicious:
        return f"it asks for {first_names(requests.suspicious, 3)}, which no weights need; nothing in it was run"
    names = first_names(requests.names, 2)
    if requests.alone:
        weights = "content.state_dict()"
    elif any(name.startswith("torch.nn.modules.") for name in requests.names):
        weights = f"content[{requests.key[:40]!r}].state_dict()"
    else:
        key = next((key for key in ("state_dict", "model", "net") if key in requests.texts), "…")
        weights = f"content[{key!r}]"
    return (
        f"it holds {names}, and reading those runs their code. Where you trust it, two lines make it plain: "
        f"content = torch.load({path.name!r}, weights_only=False); torch.save({weights}, 'plain.pth')"
    )


def _requested_globals(path: Path) -> pickle_requests.PickleRequests | None:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(name) as file:
                    return pickle_requests.requested_globals(file)
        with path.open("rb") as file:
            return pickle_requests.requested_globals(file, pickle_requests.LEGACY_PICKLES)
    except Exception:  # a broken archive
        return None


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
    return printable(" ".join(str(error).split()), 120) or type(error).__name__
