"""A memory of what files said, so that a report of thousands of runs reads only the files that are new.

The cache is one file beside the report, and only a memory of what other files say: a report without it is the same. A
file is taken to be as it was where its size, its times of change to the nanosecond, its number on the disk and the disk
are the same. A program may set the time of its content at will, but not that of its status: a file that was changed,
copied or unpacked has another one, so that a cache that came with a folder of somebody else speaks of no file here. A
file that was changed within the last seconds is not remembered, as a clock may be too coarse to tell it from what it
becomes next. A cache that somebody else may have written, of another version, or with a line that is not whole, is
not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kd_runner import __version__
from kd_runner.errors import RunFailed
from kd_runner.files import atomic, ownership
from kd_runner.files.plain_files import read_plain

NAME = ".report_cache"  # beside the report
FORMAT = "kd-runner's memory of the files of runs, which may be deleted"
SETTLED = 3.0  # seconds after its last change, from which on a file is remembered
FEWEST = 200  # files that are remembered, so that small sweeps have no such file
MAKERS = ("files", "config", "comparison", "reports", "tracking")  # folders of the code that makes values
MOST = 2**29  # bytes of the cache
Entry = tuple[bytes, bytes, bytes]  # the state of a file, a checksum, and the line that it is the checksum of


@dataclass(frozen=True)
class ValueAndLine:
    """A value that was made of a file, and its JSON in one line, empty where it must be encoded for that."""

    value: Any
    line: bytes = b""


class ReadCache:
    """Values that were made of files, by the files.

    Args:
        path: The file of the cache; None to remember nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.writes = path, True
        self._known: dict[bytes, Entry] = {}  # by name
        self._kept: dict[bytes, Entry] = {}  # those that are to be kept
        self._read = 0  # files that were not remembered
        self._folder = "" if path is None or path.parent == Path() else os.path.join(path.parent, "")  # noqa: PTH118
        self.header = f"{FORMAT}: {code_version()}\n".encode()
        if path is not None:
            self._load(path)

    def value(self, kind: str, path: Path, read: Callable[[Path], Any]) -> Any:
        """The value that `read` makes of the file at `path`: plain data, which JSON can hold, with texts as keys.

        Args:
            kind: A name for what `read` does, which depends on the content of the file alone.
            read: A function that gives the value, or `ValueAndLine` of it.
        """
        values: list[Any] = []  # the one that was read, if any was

        def line_of(path: Path) -> bytes:
            content = read(path)
            pair = content if isinstance(content, ValueAndLine) else ValueAndLine(content)
            values.append(pair.value)
            return b"" if self.path is None else pair.line or _as_json(pair.value)

        line = self.line(kind, path, line_of)
        return values[0] if values else json.loads(line)

    def line(self, kind: str, path: Path, read: Callable[[Path], bytes]) -> bytes:
        """The line that `read` makes of the file at `path`: text without line breaks and tabs.

        Args:
            kind: A name for what `read` does, as for `value`.
            read: A function that gives the text; an empty one is not remembered.
        """
        state = None if self.path is None else state_of(path)
        if state is None:
            self._read += 1
            return read(path)
        name = self._name(kind, path)
        entry = self._known.get(name)
        if entry is not None and entry[0] == state and entry[1] == _checksum(entry[2]):
            self._kept[name] = entry
            return entry[2]
        self._read += 1
        line = read(path)
        if line:
            self._kept[name] = state, _checksum(line), line
        return line

    def _name(self, kind: str, path: Path) -> bytes:
        """The name of an entry: its kind, and the path of its file from the folder of the cache."""
        assert self.path is not None
        name, folder = str(path), self._folder
        if name.startswith(folder) and path.is_absolute() == self.path.is_absolute() and ".." not in name:
            relative = name[len(folder) :]
        else:  # takes longer
            relative = os.path.relpath(path, self.path.parent)
        return json.dumps([kind, relative]).encode()

    def next(self) -> ReadCache:
        """A cache for the next report in this process, which knows what this one has read, and writes nothing."""
        following = ReadCache()
        following.path, following.writes, following._folder = self.path, False, self._folder
        following._known = dict(self._kept)
        return following

    @property
    def is_unchanged(self) -> bool:
        """True where all files were as they are remembered, and no other is remembered."""
        return not self._read and 0 < len(self._kept) == len(self._known)

    def save(self) -> None:
        """Write what was read to the disk, where that is worth it and can be done."""
        if (
            self.path is None
            or not self.writes
            or self.is_unchanged
            or len(self._kept) < FEWEST
            or not self._may_replace(self.path)
        ):
            return
        content = self.header + b"\n".join(b"\t".join((name, *entry)) for name, entry in self._kept.items())
        if len(content) > MOST:
            return
        try:
            atomic.write(self.path, content, survives_power_cut=False)
            ownership.keep_others_from_writing(self.path)
        except (OSError, RunFailed):  # a folder that may only be read, a full disk
            return

    def _load(self, path: Path) -> None:
        try:
            if ownership.foreign_reason(path) is not None:
                return
            raw = read_plain(path, MOST)
        except OSError:
            return
        if not raw.startswith(self.header):
            return
        start = len(self.header)
        while start < len(raw):
            end = raw.find(b"\n", start)
            end = len(raw) if end < 0 else end
            tabs = list(islice(_places_of(b"\t", raw, start, end), 4))
            if len(tabs) == 3:
                first, second, third = tabs
                self._known[raw[start:first]] = raw[first + 1 : second], raw[second + 1 : third], raw[third + 1 : end]
            start = end + 1

    @staticmethod
    def _may_replace(path: Path) -> bool:
        """True where nothing is at `path`, or a cache of any version."""
        try:
            with path.open("rb") as file:
                return not path.is_symlink() and file.read(len(FORMAT)) == FORMAT.encode()
        except FileNotFoundError:
            return not path.is_symlink()
        except OSError:
            return False


def state_of(path: Path) -> bytes | None:
    """A text that changes whenever a file does; None for anything that is no settled file."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    last = max(status.st_mtime_ns, status.st_ctime_ns)
    if not stat.S_ISREG(status.st_mode) or time.time_ns() - last < SETTLED * 1e9:
        return None
    parts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return " ".join(map(str, parts)).encode()


def code_version() -> str:
    """The version of kd-runner, and of the code that makes values of files."""
    digest = hashlib.sha256()
    with suppress(OSError):  # in an archive, whose version must do
        for name in MAKERS:
            for path in sorted((Path(__file__).parents[1] / name).rglob("*.py")):
                digest.update(path.read_bytes())
    return f"{__version__} {digest.hexdigest()[:16]}"


def _places_of(sign: bytes, text: bytes, start: int, end: int) -> Iterator[int]:
    """The places of a sign between two places in a text, which is not copied for that: it is long."""
    index = text.find(sign, start, end)
    while index >= 0:
        yield index
        index = text.find(sign, index + 1, end)


def _checksum(content: bytes) -> bytes:
    return b"%08x" % zlib.crc32(content)


def _as_json(value: Any) -> bytes:
    """The value as JSON without line breaks and tabs; empty where JSON cannot hold it."""
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError):
        return b""
