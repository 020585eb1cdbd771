"""The files in a tar, by their headers: where their bytes lie. Nothing is unpacked and no name becomes a path.

Python's tarfile reads the headers. The webdataset library reads shards as streams, in an order that it shuffles as it
goes; here an image is read by its number, so that the order of the images, and the result, follow from the seeds.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from kd_runner.datasets.folders.guarded_file import MOST_HEADERS, GuardedFile

PADDING = 20 * tarfile.BLOCKSIZE  # zeros at the end of a tar, which writers round up to
LINK, SPARSE, SPECIAL = "link in a tar", "sparse file in a tar", "special file in a tar"
LONGEST_NAME = 1000


class Member(NamedTuple):
    """A file in a tar: its name, and the place and number of its bytes."""

    name: str
    start: int
    size: int


@dataclass
class Members:
    """The files in a tar.

    Args:
        files: The files, in the order of the tar.
        unread: Numbers of members that are no plain files, by kind; folders are not counted.
        broken: Why the tar cannot be read to its end; empty where it can.
        behind: Number of bytes behind the end of the archive, which no reader of tars reads.
    """

    files: list[Member] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    broken: str = ""
    behind: int = 0


def members_of(path: Path) -> Members:
    """The files in the tar `path`, which is not compressed.

    Raises:
        OSError: the file cannot be opened.
    """
    members = Members()
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            end = _read_headers(file, size, members)
        except OSError:
            raise
        except Exception as error:  # on broken files tarfile raises many kinds of errors, RecursionError too
            members.broken = " ".join(str(error).split())[:200] or type(error).__name__
        else:
            _look_behind(file, end, size, members)
    return members


def _read_headers(file: IO[bytes], size: int, members: Members) -> int:
    """Add the members of the tar in `file`, of `size` bytes; the place where the headers end.

    Raises:
        ValueError: a header that leads back, or beyond the end of the file.
        tarfile.TarError: the tar is broken.
    """
    guarded = GuardedFile(file, most=MOST_HEADERS)
    opened: Any  # its list of members is in no type stub
    with tarfile.open(fileobj=guarded, mode="r:") as opened:
        last = -1
        if not opened.offset:  # an empty tar: before Python 3.11, the next header is looked for in front of it
            return 0
        while (header := opened.next()) is not None:
            guarded.begin_file()
            opened.members.clear()  # a million of them would take a gigabyte
            if header.offset <= last or header.size < 0 or header.offset_data < header.offset:
                raise ValueError("a header leads back to one before it")
            last = header.offset
            if len(header.name) > LONGEST_NAME:
                raise ValueError(f"a name of {len(header.name):,} letters")
            if header.issparse():
                members.unread[SPARSE] += 1
            elif header.isreg():
                if header.offset_data + header.size > size:
                    raise ValueError(f"it ends before {header.name} does: it is not whole")
                members.files.append(Member(header.name, header.offset_data, header.size))
            elif not header.isdir():
                members.unread[LINK if header.islnk() or header.issym() else SPECIAL] += 1
        return int(opened.offset)


def _look_behind(file: IO[bytes], end: int, size: int, members: Members) -> None:
    """Say what is wrong where the headers end: tarfile takes a broken header for the end, as it does zeros."""
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        members.broken = f"what lies behind its first {end:,} bytes is no header"
    elif any(file.read(PADDING)):  # a second archive, say
        members.behind = size - end
