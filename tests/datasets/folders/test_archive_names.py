"""Names in archives as other programs write them: without the flag of UTF-8, with backslashes, in an old code page."""

from __future__ import annotations

import io
import re
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from odd_archives import folder_of_015, write_zip

from kd_runner.datasets.folders.archives import unpack
from kd_runner.notes import collected_notes


def unpacked(archive: Path) -> tuple[dict[str, str], list[str]]:
    """The content of each file that was unpacked, by its path, and the notes."""
    with collected_notes() as notes:
        unpack(archive, archive.parent / "cache")
    (folder,) = (path for path in (archive.parent / "cache").iterdir() if path.is_dir())
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}, notes


def unpacked_notes(archive: Path) -> list[str]:
    with collected_notes() as notes:
        unpack(archive, archive.parent / "cache")
    return notes


def test_utf_8_without_the_flag_is_utf_8(tmp_path: Path) -> None:
    names = ("pets/Kätzchen groß/ü 1.png", "pets/vögel/2.png", "pets/動物/3.png", "pets/plain/4.png")
    archive = write_zip(tmp_path / "mac.zip", *map(str.encode, names))
    assert unpacked(archive) == ({name: str(number) for number, name in enumerate(names)}, [])


def test_names_of_an_old_code_page_are_read_as_before_and_said(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "old.zip", "v/vögel.png".encode("cp437"), "v/ёж.png".encode("cp866"), b"v/a.png")
    files, notes = unpacked(archive)
    assert set(files) == {"v/vögel.png", "v/" + "ёж.png".encode("cp866").decode("cp437"), "v/a.png"}
    (line,) = notes
    assert re.match(r"2 of 3 files in .* could not be decoded, .* such as v/vögel\.png", line)


def test_the_extra_field_with_the_name_in_utf_8_counts(tmp_path: Path) -> None:
    raw, name = "ёж.png".encode("cp866"), "ёж.png".encode()
    extra = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zlib.crc32(raw)) + name
    assert unpacked(write_zip(tmp_path / "new.zip", raw, extra=extra)) == ({"ёж.png": "0"}, [])


def test_an_extra_field_of_another_name_does_not_count(tmp_path: Path) -> None:
    raw = "ёж.png".encode("cp866")
    extra = struct.pack("<HHBL", 0x7075, 5 + 5, 1, zlib.crc32(b"another name")) + b"x.png"
    files, notes = unpacked(write_zip(tmp_path / "new.zip", raw, extra=extra))
    assert set(files) == {raw.decode("cp437")}
    assert "could not be decoded" in notes[0]


def test_backslashes_for_slashes_are_slashes_and_said(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "ps5.zip", b"pets\\a\\", b"pets\\a\\1.png", b"pets\\b\\2.png", b"pets/c/x\\y.png")
    files, notes = unpacked(archive)
    assert files == {"pets/a/1.png": "1", "pets/b/2.png": "2", "pets/c/x\\y.png": "3"}
    assert notes == [f"2 of 3 files in {archive} have backslashes in their names, which are read as slashes"]


def test_backslashes_in_a_tar_are_slashes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("pets\\a\\1.png")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"0"))
    files, notes = unpacked(tmp_path / "a.tar")
    assert files == {"pets/a/1.png": "0"}
    assert "1 of 1 files in" in notes[0]


def test_a_name_in_a_tar_that_is_no_utf_8_is_said(tmp_path: Path) -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}" / "a.tar"
        path.parent.mkdir()
        with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
            archive.addfile(tarfile.TarInfo("v\udcf6gel/" + 20 * "long name " + ".png"))
        assert unpacked(path)[1][0].startswith(f"1 of 1 files in {path} have names that could not be decoded")


@pytest.mark.parametrize(
    "names", [(b"a\\1.png", b"a/1.png"), ("ä/1".encode(), "ä/1".encode("cp437")), (b"a/1", b"a/./1")]
)
def test_names_that_become_the_same_are_counted_and_the_last_counts(tmp_path: Path, names: tuple[bytes, ...]) -> None:
    files, notes = unpacked(write_zip(tmp_path / "same.zip", *names))
    assert list(files.values()) == ["1"]
    assert notes[0].startswith(f"1 of 2 files in {tmp_path / 'same.zip'} have the name of another one")


@pytest.mark.parametrize(
    "name", ["../ä.png", "/ä.png", "C:\\ä.png", "..\\ä.png", "\\\\host\\share\\ä.png", "a\\..\\..\\ä"]
)
def test_names_that_lead_out_are_refused_in_every_writing(tmp_path: Path, name: str) -> None:
    raw, extra_name = b"\x84.png", name.encode()
    extra = struct.pack("<HHBL", 0x7075, 5 + len(extra_name), 1, zlib.crc32(raw)) + extra_name
    for archive in (write_zip(tmp_path / "a.zip", name.encode()), write_zip(tmp_path / "b.zip", raw, extra=extra)):
        with pytest.raises(ValueError, match="must hold paths inside its own folder"):
            unpack(archive, tmp_path / "cache")


def test_a_zero_byte_ends_a_name(tmp_path: Path) -> None:
    assert set(unpacked(write_zip(tmp_path / "a.zip", "ä.png\0/../../x".encode()))[0]) == {"ä.png"}


@pytest.mark.parametrize(("name", "is_used"), [(b"a/1.png", True), ("ä/1.png".encode(), False), (b"a\\1.png", False)])
def test_what_an_older_version_unpacked_is_used_where_its_names_are_right(
    tmp_path: Path, name: bytes, is_used: bool
) -> None:
    archive = write_zip(tmp_path / "a.zip", name)
    before = folder_of_015(archive)
    for _ in range(2):
        with collected_notes() as notes:
            assert (unpack(archive, tmp_path / "cache") == before) == is_used
        assert not any("0.16" in line for line in notes)  # no run had classes of a folder without folders


@pytest.mark.parametrize(("name", "is_used"), [("pets/a/1.png", True), ("pets\\a\\1.png", False)])
def test_a_tar_with_backslashes_that_an_older_version_unpacked_is_unpacked_anew(
    tmp_path: Path, name: str, is_used: bool
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    before = folder_of_015(tmp_path / "a.tar", name)
    folder = unpack(tmp_path / "a.tar", tmp_path / "cache")
    assert folder.is_relative_to(before) == is_used
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_the_folder_of_an_older_version_is_named_each_time_for_its_runs_to_go_on(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mac.zip", "pets/vögel/1.png".encode(), b"pets/b/1.png")
    before = folder_of_015(archive, "pets/v├╢gel/1.png", "pets/b/1.png")
    for _ in range(2):
        with collected_notes() as notes:
            unpack(archive, tmp_path / "cache")
        assert notes == [
            f"{archive} is read with other names than before kd-runner 0.16, which unpacked it in {before / 'pets'}: "
            f"to go on with a run of such a version, add dataset.root={before / 'pets'}; to evaluate or export it, "
            "give that folder as --root"
        ]


def test_a_folder_that_others_may_write_is_not_named(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mac.zip", "vögel/1.png".encode())
    folder_of_015(archive, "v├╢gel/1.png").chmod(0o777)
    assert unpacked_notes(archive) == []
