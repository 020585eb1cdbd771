"""Tars as they should be, cut off, broken and hostile: where their files lie, and why they cannot be read."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from hostile import CORPUS, Case, bounded, nothing_happens
from packed_cases import write_shard

from kd_runner.datasets.folders.guarded_file import LARGEST_HEADER
from kd_runner.datasets.packed.tar_members import members_of

FILES = [(f"{number:04}.jpg", bytes([number]) * 700) for number in range(4)]


def test_the_bytes_of_a_file_are_where_the_header_says(tmp_path: Path) -> None:
    long = f"folder/{'x' * 300}.png"
    path = write_shard(tmp_path / "a.tar", [*FILES, (long, b"long"), ("empty.cls", b"")])
    members = members_of(path)
    content = path.read_bytes()
    assert [(name, content[start : start + size]) for name, start, size in members.files] == [
        *FILES,
        (long, b"long"),
        ("empty.cls", b""),
    ]
    assert (members.broken, members.behind, sum(members.unread.values())) == ("", 0, 0)


def header(size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header with these bytes as the size of its file."""
    member = tarfile.TarInfo("x.jpg")
    member.type = kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_what_is_wrong_with_a_tar_is_said(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "a.tar", FILES).read_bytes()
    ends = 4 * (512 + 1024)
    long_name = header(b"%011o\0" % 10, tarfile.GNUTYPE_LONGNAME) + b"abc".ljust(512, b"\0")
    back = "header leads back or 1,536 bytes is no header"  # the latter where Python itself refuses sizes below 0
    cases = {
        back: whole[:1536] + header(b"\xff" * 10 + b"\xfa\x00") + bytes(20480),  # -1536 bytes
        "is not whole": whole[: ends - 600],
        "4,608 bytes is no header": whole[:4608] + b"garbage".ljust(512, b"g") + whole[5120:],
        "3,072 bytes is no header": whole[:3200],
        "recursion": long_name * 5000 + bytes(1024),
        "a header with 8,589,934,592 bytes": header(b"\x80" + (2**33).to_bytes(11, "big"), tarfile.XHDTYPE)
        + bytes(1024),
        "truncated header": gzip.compress(whole),
        "empty file": b"",
    }
    found = {back: 1, "is not whole": 3, "4,608 bytes is no header": 3, "3,072 bytes is no header": 2}
    for says, content in cases.items():
        (tmp_path / "b.tar").write_bytes(content)
        with bounded(), nothing_happens(tmp_path / "nowhere"):
            members = members_of(tmp_path / "b.tar")
        assert any(words in members.broken for words in says.split(" or "))
        assert len(members.files) == found.get(says, 0), says
    assert LARGEST_HEADER < 2**20
    (tmp_path / "c.tar").write_bytes(whole + whole)
    assert len(members_of(tmp_path / "c.tar").files) == 4
    assert members_of(tmp_path / "c.tar").behind == 2 * len(whole) - ends


def test_links_and_other_members_are_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("../../etc/passwd")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    members = members_of(tmp_path / "a.tar")
    assert members.files == []
    assert dict(members.unread) == {"link in a tar": 2, "special file in a tar": 2}


TARS = [case for case in CORPUS if case.kind == "archive" and case.name.startswith("tar") and case.name[3] != "."]


@pytest.mark.parametrize("case", TARS, ids=str)
def test_no_tar_does_anything(case: Case, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    archive = case.write(tmp_path / "given")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with bounded(), nothing_happens(tmp_path / "nowhere"):
        members_of(archive)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
