"""The table of tags at the start of a TIFF or of EXIF data, checked before Pillow reads what it points to.

Each of up to 65,535 tags may point to the same bytes, of which Pillow before 12 makes a copy for each tag; and of the
offsets of strips it makes objects that are 100 times larger than the numbers in the file.
"""

from __future__ import annotations

import io
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

MOST_VALUES = 200_000  # numbers in one tag; a palette of 16 bits has 196,608
BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MOST_PAGES = 100  # that are counted
TEXT_OR_BYTES = (1, 2, 6, 7)
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class _Layout:
    """The form of the numbers in a TIFF: their order of bytes, and its size of 32 or 64 bits."""

    order: str
    is_big: bool

    @property
    def entry(self) -> struct.Struct:
        """A tag, its type and its number of values; where they are is passed over."""
        return struct.Struct(f"{self.order}{'HHQ8x' if self.is_big else 'HHI4x'}")

    @property
    def count(self) -> struct.Struct:
        """The number of tags in a table."""
        return struct.Struct(f"{self.order}{'Q' if self.is_big else 'H'}")

    @property
    def position(self) -> struct.Struct:
        """The position of a table."""
        return struct.Struct(f"{self.order}{'Q' if self.is_big else 'I'}")


def check_tags(file: IO[bytes]) -> None:
    """Check the tables of tags in `file`, if it begins as a TIFF; its position is 0 afterwards.

    Raises:
        ValueError: the tags hold more than the file, or one holds more numbers than an image can need.
    """
    file.seek(0)
    start = file.read(16)
    if start[:4] in STARTS:
        layout = _Layout("<" if start[:1] == b"I" else ">", b"+" in start[:4])
        size = file.seek(0, os.SEEK_END)
        with suppress(struct.error):  # the file is cut off: Pillow says so
            (table,) = layout.position.unpack_from(start, 8 if layout.is_big else 4)
            for _ in range(MOST_PAGES):
                if not 0 < table < size:
                    break
                table = _check_table(file, table, layout, size)
    file.seek(0)


def has_sound_tags(exif: bytes) -> bool:
    """True where the tags of EXIF data, with or without its name in front, may be read."""
    try:
        check_tags(io.BytesIO(exif.removeprefix(b"Exif\0\0")))
    except ValueError:
        return False
    return True


def _check_table(file: IO[bytes], table: int, layout: _Layout, size: int) -> int:
    """Check the table of tags at a position in a file of `size` bytes; returns the position of the next one, or 0."""
    file.seek(table)
    (entries,) = layout.count.unpack(file.read(layout.count.size))
    content = file.read(min(entries * layout.entry.size, size))
    total = 0
    for tag, kind, count in layout.entry.iter_unpack(content[: len(content) // layout.entry.size * layout.entry.size]):
        total += BYTES_OF_TYPE.get(kind, 0) * count
        if count > MOST_VALUES and kind in BYTES_OF_TYPE and kind not in TEXT_OR_BYTES:
            raise ValueError(f"its tag {tag} has {count:,} numbers, more than {MOST_VALUES:,}")
    if total > 2 * size:  # twice, as two tags may share their bytes
        raise ValueError(f"its tags hold {total:,} bytes, in a file of {size:,}")
    return int(layout.position.unpack(file.read(layout.position.size))[0])
