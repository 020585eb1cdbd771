"""An archive as a file that gives its reader no more bytes at once than a header of that kind of archive needs."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from typing import IO, Any

LARGEST_HEADER = 2**16  # bytes of names and attributes that a header of a tar may be followed by
MOST_HEADERS = 16 * LARGEST_HEADER  # bytes of all headers in front of one file of a tar
COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}


class GuardedFile:
    """A file for tarfile or zipfile, which otherwise read as many bytes into memory as a header claims.

    Args:
        largest: The largest number of bytes of one reading.
        most: The largest number of bytes of all readings up to the next call of `begin_file`; None: any.
    """

    def __init__(self, file: IO[bytes], largest: int = LARGEST_HEADER, most: int | None = None) -> None:
        self.file, self.largest, self.most, self.left = file, largest, most, most
        self.name, self.mode = "", "rb"

    def begin_file(self) -> None:
        """Begin to count the bytes anew."""
        self.left = self.most

    def read(self, size: int = -1) -> bytes:
        """Bytes of the file.

        Raises:
            ValueError: more are asked for than a header needs.
        """
        if size > self.largest:
            raise ValueError(f"a header with {size:,} bytes of attributes")
        content = self.file.read(size) if size >= 0 else b"".join(self._rest())
        if len(content) > self.largest:
            raise ValueError(f"a header with more than {self.largest:,} bytes of attributes")
        if self.left is not None:
            self.left -= len(content)
            if self.left < 0:
                raise ValueError(f"more than {self.most:,} bytes of headers in front of a file")
        return content

    def _rest(self) -> Iterator[bytes]:
        """The rest of the file, in pieces, of which no more come once they are too many."""
        count = 0
        while count <= self.largest and (piece := self.file.read(2**16)):
            count += len(piece)
            yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def without_compression(file: IO[bytes]) -> IO[bytes]:
    """The content of a file that may be compressed by gzip, bzip2 or xz."""
    start = file.read(6)
    file.seek(0)
    opened = [opener for magic, opener in COMPRESSED.items() if start.startswith(magic)]
    content: IO[bytes] = opened[0](file) if opened else file
    return content
