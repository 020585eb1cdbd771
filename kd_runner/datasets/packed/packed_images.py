"""A split whose images lie inside other files, such as a tar or a table: one is decoded when it is asked for.

Nothing is unpacked: the decoder reads the bytes where they are, with the limits that it has for image files.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol

import numpy as np

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_file import PictureFile


class Pack(Protocol):
    """The files that hold images, by names of the images that are relative paths. Worker processes get a copy."""

    def open(self, name: str) -> IO[bytes]:
        """The bytes of an image."""

    def stamps(self, names: Sequence[str]) -> np.ndarray:
        """Numbers that change where the images change, int64 [N, 2]."""


@dataclass(frozen=True)
class PackedFile:
    """An image inside a pack, which the decoder reads as it reads a file.

    Args:
        folder: The folder of the data set, for messages.
        name: The name of the image in the pack.
    """

    pack: Pack
    folder: Path
    name: str

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        return self.pack.open(self.name)

    def __str__(self) -> str:
        return str(self.folder / self.name)


@dataclass(frozen=True)
class PackedImages(ImageFiles):
    """A split whose images lie in a pack; an absolute path among its `paths` is a file beside it.

    Args:
        pack: The files that hold the images.
    """

    pack: Pack = field(kw_only=True)

    def file(self, index: int) -> PictureFile:
        name = self.paths[index]
        return Path(name) if name.startswith("/") else PackedFile(self.pack, self.folder, name)

    @functools.cached_property
    def stamps(self) -> np.ndarray:
        stamps = np.empty((len(self), 2), dtype=np.int64)
        packed = np.array([not name.startswith("/") for name in self.paths], dtype=bool)
        stamps[packed] = self.pack.stamps([name for name in self.paths if not name.startswith("/")])
        for index in np.flatnonzero(~packed).tolist():
            status = Path(self.paths[index]).stat()
            stamps[index] = status.st_size, status.st_mtime_ns
        return stamps


class FileWindow(io.RawIOBase):
    """A part of a file as a file of its own, which no read leaves.

    Args:
        start, size: The first byte of the part, and its number of bytes.
    """

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size, self._position = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"position {origin + offset} lies before the file")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        count = self._file.readinto(view) or 0
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def window(path: Path, start: int, size: int) -> IO[bytes]:
    """Some bytes of a file, as a file that is buffered."""
    return io.BufferedReader(FileWindow(path, start, size))
