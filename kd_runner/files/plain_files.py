"""Small files in folders that anyone may have made, read without waiting, without following links, and not too much."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_JSON = 2**26  # bytes of a file that kd-runner writes; that of 10,000 classes has 5 million
PIECE = 2**20  # bytes that are read at once of a file that is longer than it was a moment ago
MOST_YAML = 2**19  # bytes of a file that Hydra writes; reading so many takes seconds

# A named pipe must not be waited for, and a link must not lead to a file of somebody else.
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


def read_plain(path: Path, most: int = MOST_JSON) -> bytes:
    """The content of the file at `path`.

    Args:
        most: The largest number of bytes that is read.

    Raises:
        OSError: there is no file, it cannot be read, it is a link or no file, or it is larger; `strerror` says which.
    """
    _refuse_special(path, path.lstat().st_mode)  # a device must not even be opened
    handle = os.open(path, _FLAGS)
    try:
        status = os.fstat(handle)
        _refuse_special(path, status.st_mode)
        content = _read_up_to(handle, status.st_size, most + 1) if status.st_size <= most else b""
    finally:
        os.close(handle)
    if status.st_size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most / 1e6:.0f} MB", str(path))
    return content


def _read_up_to(handle: int, size: int, most: int) -> bytes:
    """The content of an open file, no more than `most` bytes.

    Args:
        size: The bytes that it is expected to have; it may grow meanwhile. Room is made for no more, since to make
            room for `most` takes longer than to read a small file.
    """
    pieces = [os.read(handle, min(size + 1, most))]
    remaining = most - len(pieces[0])
    while remaining > 0 and (piece := os.read(handle, min(remaining, PIECE))):
        pieces.append(piece)
        remaining -= len(piece)
    return b"".join(pieces)


def _refuse_special(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "it is a link, and links are not followed here", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device", str(path))


class _Loader(yaml.SafeLoader):  # not the loader in C, which a file of very many brackets ends with the process
    """PyYAML's loader of plain data, less references to other parts of a file.

    A few of those make a file of one line unfold to more than any memory. Hydra writes none.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has references to other parts of itself")
        return super().compose_node(parent, index)


def is_file_name(text: str) -> bool:
    """True for the name of one file or folder, which leads to no other place."""
    return text not in ("", ".", "..") and not set("/\\:\0") & set(text) and len(text.encode(errors="replace")) < 256


def is_path_inside(text: str) -> bool:
    """True for a path that leads from a folder to somewhere inside it."""
    return bool(text) and all(is_file_name(part) for part in text.split("/"))


def read_yaml(path: Path) -> Any:
    """The plain data in the YAML file at `path`, which Hydra wrote or somebody else.

    Raises:
        OSError: as in `read_plain`.
        ValueError: it is not YAML of plain data.
    """
    try:
        return yaml.load(read_plain(path, MOST_YAML).decode(), _Loader)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
