"""Archives with names as other programs write them, and the folders in which older versions unpacked them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path


class RawName(zipfile.ZipInfo):
    """An entry with a name of these bytes and no flag that says how they are read."""

    def __init__(self, raw: bytes, extra: bytes = b"") -> None:
        super().__init__(raw.decode("cp437"))
        self.extra = extra

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 (the name that zipfile calls)
        return self.orig_filename.encode("cp437"), self.flag_bits & ~0x800


def write_zip(path: Path, *names: bytes, extra: bytes = b"", contents: Sequence[bytes] = ()) -> Path:
    """A .zip with these names; each file holds its number where no `contents` are given, and folders nothing."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            content = contents[number] if contents else str(number).encode()
            archive.writestr(RawName(name, extra), b"" if name.endswith((b"/", b"\\")) else content)
    return path


def folder_of_015(archive: Path, *files: str) -> Path:
    """The folder in which kd-runner 0.15 unpacked the archive in `cache` beside it, with these files."""
    status = archive.stat()
    facts = repr((str(archive), status.st_size, status.st_mtime_ns))
    folder = archive.parent / "cache" / f"{archive.stem}.{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, mode=0o700)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder
