"""A small archive whose headers claim gigabytes, or whose list of files has no end, takes no memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_runner.datasets.folders import archives
from kd_runner.datasets.folders.archives import unpack
from kd_runner.datasets.packed.tar_members import members_of

SIZE = 50_000_000
OPENERS = {"tar": open, "tar.gz": gzip.open, "tar.bz2": bz2.open, "tar.xz": lzma.open}


def header(kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def refusal(archive: Path) -> str:
    """The line that refuses an archive, which takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=str(archive)) as error:
            unpack(archive, archive.parent / "cache")
        assert tracemalloc.get_traced_memory()[1] < SIZE / 4
    finally:
        tracemalloc.stop()
    return str(error.value)


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME], ids=["pax", "all", "gnu"]
)
@pytest.mark.parametrize("ending", OPENERS)
def test_a_header_of_many_bytes(tmp_path: Path, ending: str, kind: bytes) -> None:
    opener: Callable[..., Any] = OPENERS[ending]
    archive = tmp_path / f"a.{ending}"
    with opener(archive, "wb") as file:
        file.write(header(kind, SIZE))
        for _ in range(SIZE // 1_000_000 if ending != "tar.bz2" else 2):
            file.write(bytes(1_000_000))
        file.write(bytes(1024))
    assert "bytes of attributes" in refusal(archive)
    if ending == "tar":
        assert "bytes of attributes" in members_of(archive).broken


@pytest.mark.slow
def test_headers_without_end(tmp_path: Path) -> None:
    """Each is small: names in front of names, and a sparse file whose map of places is in the file itself."""
    names = (header(tarfile.GNUTYPE_LONGNAME, 60_000) + bytes(60_416)) * 20
    attributes = b"".join(f"{len(line) + 4} {line}\n".encode() for line in ("GNU.sparse.major=1", "GNU.sparse.minor=0"))
    sparse = header(tarfile.XHDTYPE, len(attributes)) + attributes.ljust(512, b"\0")
    places = b"9999999\n" + b"1\n" * 1_000_000
    sparse += header(tarfile.REGTYPE, len(places)) + places.ljust(2_000_384, b"\0")
    for content in (names, sparse):
        (tmp_path / "a.tar").write_bytes(content + bytes(1024))
        assert "bytes of headers in front of a file" in members_of(tmp_path / "a.tar").broken
        with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
            file.write(content + bytes(1024))
        assert "bytes of headers in front of a file" in refusal(tmp_path / "a.tar.gz")


def test_more_files_than_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LEAST_FILES", 20)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar, zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for number in range(100):
            tar.addfile(tarfile.TarInfo(f"{number}"), io.BytesIO())
            packed.writestr(f"{number}", "")
    assert "has more than 20 files" in refusal(tmp_path / "a.tar.gz")
    assert "has more than" in refusal(tmp_path / "a.zip")
    monkeypatch.setattr(archives, "LEAST_DIRECTORY", 4_000)
    assert "bytes of attributes" in refusal(tmp_path / "a.zip")


@pytest.mark.parametrize("ending", [*OPENERS, "zip"])
def test_files_larger_than_a_header_are_unpacked(tmp_path: Path, ending: str) -> None:
    content = bytes(range(256)) * 8_000
    if ending == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a/b", content)
    else:
        with OPENERS[ending](tmp_path / f"a.{ending}", "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            entry = tarfile.TarInfo("a/" + "b" * 150)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    folder = unpack(tmp_path / f"a.{ending}", tmp_path / "cache")
    (file,) = (path for path in folder.rglob("b*") if path.is_file())
    assert file.read_bytes() == content
