"""The digest of a file, by which a copy of it is known."""

from __future__ import annotations

import hashlib
from pathlib import Path

BLOCK = 2**20  # bytes


def file_digest(path: Path) -> str:
    """The SHA-256 of the bytes of a file, in 64 hexadecimal digits; the file is read block by block."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return sha.hexdigest()
