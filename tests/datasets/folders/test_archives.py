"""Archives as people make them, and as nobody should: unpacked in their own folder, or refused in one line."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import read_images, write_plain_classes
from PIL import Image

from kd_runner.datasets.folders.archives import unpack
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Splits
from kd_runner.notes import collected_notes

Files = dict[str, bytes]
PARTS = ("..", ".", "a", "", "C:", "x\\..\\y", "\u202e", "b.png", "~")


def png(seed: int) -> bytes:
    raw = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(raw, "png")
    return raw.getvalue()


def pictures(start: str = "") -> Files:
    return {f"{start}{name}/{number}.png": png(10 * ord(name) + number) for name in "ab" for number in range(5)}


def write_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: Files, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read(archive: Path) -> Splits:
    return image_folder(str(archive), seed=0, image_size=6, cache=str(archive.parent / "cache"))


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("start", ["", "pets/", "pets/more/", "pets/train/"])
def test_folders_around_the_images_are_opened(tmp_path: Path, write: Callable[..., Path], start: str) -> None:
    name = "pets.zip" if write is write_zip else "pets.tar"
    extra = {"__MACOSX/a/._0.png": b"x", ".DS_Store": b"x"}
    splits = read(write(tmp_path / name, {**pictures(start), **extra}))
    assert splits.classes == ["a", "b"]
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 10
    assert splits.survey is not None
    assert splits.survey.left_out.files == 0


def test_an_archive_in_an_archive_is_named(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", pictures()).read_bytes()
    outer = write_zip(tmp_path / "outer.zip", {"inner.zip": inner})
    with pytest.raises(FileNotFoundError, match=r"no class folders .*it holds \.zip files: unpack them.*outer\.zip"):
        read(outer)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_stands_twice_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for name, content in (*pictures().items(), ("a/0.png", png(99))):
            archive.writestr(name, content)
    with collected_notes() as notes:
        splits = read(tmp_path / "twice.zip")
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 10
    assert any(note.startswith("1 of 11 files in") and "have the name of another one" in note for note in notes)


def test_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "secret.zip", pictures())
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit that says so, in both headers
        start = content.find(signature)
        while start >= 0:
            flags = struct.unpack_from("<H", content, start + place)[0]
            struct.pack_into("<H", content, start + place, flags | 1)
            start = content.find(signature, start + 4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"secret\.zip cannot be unpacked: File .* is encrypted"):
        read(path)


def test_names_in_other_encodings_are_read_and_can_be_printed(tmp_path: Path) -> None:
    raw = tmp_path / "latin.tar"
    with tarfile.open(raw, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name, content in pictures().items():
            member = tarfile.TarInfo(f"Käfer_{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with collected_notes() as notes:
        splits = read(raw)
    assert splits.classes == ["K\ufffdfer_a", "K\ufffdfer_b"]
    assert any("10 of 10 files in" in line and "not in UTF-8, such as K\ufffdfer_a/0.png" in line for line in notes)
    " ".join(splits.classes).encode()
    zipped = write_zip(tmp_path / "unicode.zip", {f"動物 {name}": content for name, content in pictures().items()})
    assert read(zipped).classes == ["動物 a", "動物 b"]


@pytest.mark.parametrize("name", ["broken.zip", "broken.tar", "broken.tar.gz", "broken.tar.xz", "broken.tar.bz2"])
def test_an_archive_that_is_none_is_one_line(tmp_path: Path, name: str) -> None:
    for content in (b"", b"hello", b"PK\x03\x04", b"\x1f\x8b\x08\x00broken", os.urandom(600)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} cannot be unpacked: .|no class folders") as refused:
            read(tmp_path / name)
        assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good archives called a.zip, a.tar, …"""
    folder = tmp_path_factory.mktemp("whole")
    for name, content in pictures().items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(content)
    for kind in ("zip", "tar", "gztar", "bztar", "xztar"):
        shutil.make_archive(str(folder / "a"), kind, folder / "in")
    return folder


def refusal(archive: Path) -> str:
    """What is said against the archive; empty where it was unpacked, in its own folder."""
    cache = archive.parent / "cache"
    try:
        assert unpack(archive, cache).is_relative_to(cache)
    except ValueError as error:
        assert not [path for path in cache.iterdir() if path.is_dir()]
        return str(error)
    finally:
        assert {path.name for path in archive.parent.iterdir()} == {archive.name, "cache"}
        assert len([path for path in cache.iterdir() if path.suffix != ".lock"]) <= 1
    return ""


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    suffix=st.sampled_from([".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"]),
    end=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=6),
)
def test_damaged_archives_are_read_or_refused_in_one_line(
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    end: float,
    changes: list[tuple[float, bytes]],
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray((whole / f"a{suffix}").read_bytes())
    for share, new in changes:
        place = int(share * len(content))
        content[place : place + len(new)] = new
    archive = folder / f"a{suffix}"
    archive.write_bytes(content[: round(end * len(content))] if end < 0.5 else content)
    line = refusal(archive)
    assert not line or (line.startswith(str(archive)) and len(line.splitlines()) == 1)
    shutil.rmtree(folder)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    names=st.lists(st.lists(st.sampled_from(PARTS), min_size=1).map("/".join).filter(bool), min_size=1, max_size=4),
    zipped=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_name_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], zipped: bool
) -> None:
    folder = tmp_path_factory.mktemp("names")
    content = dict.fromkeys(names, b"x")
    archive = write_zip(folder / "a.zip", content) if zipped else write_tar(folder / "a.tar", content)
    line = refusal(archive)
    assert not line or line.startswith(str(archive))
    shutil.rmtree(folder)


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a/1.png")
    header.size = 10**9
    with gzip.open(tmp_path / "a.tar.gz", "wb") as out:
        out.write(header.tobuf())  # and nothing behind it: who reads on finds a broken archive
    assert "has 1,000 MB of files in 0.0 MB: refused" in refusal(tmp_path / "a.tar.gz")


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", pictures())
    (tmp_path / "cache").write_text("a file")
    line = rf"^{tmp_path}/a\.zip cannot be unpacked in {tmp_path}/cache \(File exists\): choose another dataset\.cache$"
    with pytest.raises(ValueError, match=line):
        read(tmp_path / "a.zip")


def test_notes_name_the_archive_and_not_the_cache(tmp_path: Path) -> None:
    root = write_plain_classes(tmp_path / "images", "top/in/a", "top/in/b", "top/in/c")
    (root / "top" / "in" / "a" / "broken.png").write_bytes(b"")
    (root / "top" / "in" / "readme").write_text("x")
    for path in (root / "top" / "in" / "c").iterdir():
        path.unlink()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root))
    notes = read_images(tmp_path / "x.zip", cache=str(tmp_path / "cache"), on_bad_image="skip")[1]
    assert len(notes) == 4
    assert all(str(tmp_path / "x.zip") in line and "cache" not in line for line in notes), notes
    assert f"1 file under {tmp_path / 'x.zip'} left out: 1 file without a suffix, in " in notes[2]


def test_an_archive_that_is_gone_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.zip cannot be read: No such file or directory$"):
        unpack(tmp_path / "gone.zip", tmp_path / "cache")
