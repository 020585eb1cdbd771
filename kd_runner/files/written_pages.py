"""The pages that kd-runner writes, told from those of anybody else."""

from __future__ import annotations

from pathlib import Path

# What tells a page of kd-runner; earlier versions did not name themselves.
MARKS = (
    b'<meta name="generator" content="kd-runner">',
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'uns",
)
BEGINNING = 4096  # bytes that are looked at


def is_page_of_ours(path: Path) -> bool:
    """True for a page that kd-runner has written."""
    beginning = beginning_of(path) or b""
    return any(mark in beginning for mark in MARKS)


def beginning_of(path: Path) -> bytes | None:
    """The first bytes of a file; None where there is none."""
    if not path.exists():
        return None
    if path.is_symlink() or not path.is_file():  # a link leads to a file of somebody else
        return b""
    with path.open("rb") as file:
        return file.read(BEGINNING)
