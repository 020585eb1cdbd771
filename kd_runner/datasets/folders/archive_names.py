"""Names of files in archives as their makers meant them: many write them in another way than the formats ask for."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.notes import note

UTF_8 = 0x800  # the flag of a name in UTF-8; without it, the format has code page 437
UNICODE_PATH = 0x7075  # the extra field with a name in UTF-8 beside one in an old code page


def name_in_zip(member: ZipInfo) -> str:
    """The name of a file in a .zip: in UTF-8 also where macOS and others leave out the flag that says so.

    A name that is no UTF-8 is read in code page 437, unless its extra field has it in UTF-8.
    """
    raw = _undeclared_bytes(member)
    if raw is None:
        return member.filename
    try:
        return (_unicode_path(member.extra, raw) or raw.decode()).partition("\0")[0]
    except UnicodeDecodeError:
        return member.filename


def is_undecodable_in_zip(member: ZipInfo) -> bool:
    """True for a name that is read in code page 437, which may not be the one that it was written in."""
    raw = _undeclared_bytes(member)
    return raw is not None and name_in_zip(member) == raw.decode("cp437").partition("\0")[0]


def is_undecodable_in_tar(name: str) -> bool:
    """True for a name with bytes that are no UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _undeclared_bytes(member: ZipInfo) -> bytes | None:
    """The bytes of a name of which no flag says how they are read; None for ASCII, and where the reader knows it."""
    original = member.orig_filename
    is_known = member.flag_bits & UTF_8 or member.filename != original.partition("\0")[0]
    return None if is_known or original.isascii() else original.encode("cp437")


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in UTF-8 of an extra field that belongs to the name `raw`; None where there is none."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        content, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and content[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
            return content[5:].decode("utf-8", "ignore") or None
    return None


def with_slashes(name: str) -> str:
    """The name with slashes, where backslashes alone part it, as in a .zip of Windows PowerShell 5."""
    return name if "/" in name else name.replace("\\", "/")


@dataclass
class NamesInArchive:
    """The names of the files in an archive, as they are unpacked, and what is odd about them."""

    unpacked: list[str] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)  # names that may have wrong letters
    with_backslashes: int = 0

    def add(self, name: str, is_undecodable: bool) -> None:
        """Count the name of a file, before its backslashes become slashes."""
        self.unpacked.append(with_slashes(name))
        self.with_backslashes += self.unpacked[-1] != name
        if is_undecodable:
            self.undecodable.append(self.unpacked[-1])


def note_odd_names(archive: Path, names: NamesInArchive) -> None:
    """Say what is odd about the names in an archive."""
    number, total = len(names.unpacked), f"{len(names.unpacked):,} files in {archive}"
    repeated = number - len({str(PurePosixPath(name)) for name in names.unpacked})
    if repeated:
        note("data", f"{repeated:,} of {total} have the name of another one: the last counts")
    if names.with_backslashes:
        note(
            "data", f"{names.with_backslashes:,} of {total} have backslashes in their names, which are read as slashes"
        )
    if names.undecodable:
        note(
            "data",
            f"{len(names.undecodable):,} of {total} have names that could not be decoded, as they are not in UTF-8, "
            f"such as {decoded_name(names.undecodable[0])}: where letters are wrong, pack it again with names in UTF-8",
        )
