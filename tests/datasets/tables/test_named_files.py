"""The files that a manifest names: those of its folder, and no others unless a person allows it."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from kd_runner.datasets.tables import named_files as module
from kd_runner.datasets.tables.named_files import (
    NOT_THERE,
    OTHER_ACCENTS,
    differs_in_accents,
    named_files,
    similar_file,
)


def place(position: int) -> str:
    return f"line {position + 2}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a manifest with three images, beside one with a private image."""
    for name in ("data/a.png", "data/deep/b.png", "data/c d.png", "private/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    return tmp_path / "data"


@pytest.mark.parametrize("at_once", [1, 3, 7, 1000])
def test_paths_of_one_file_are_one_path(folder: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    names = ["a.png", "./deep/b.png", "deep\\b.png", "deep/../c d.png", str(folder / "a.png"), "none.png", "deep"]
    files = named_files(names, place, folder, [])
    assert files.paths == ["a.png", "deep/b.png", "deep/b.png", "c d.png", "a.png", "none.png", "deep"]
    assert files.backslashes == 1
    assert files.missing == {5: "it is not there", 6: "it is no regular file"}
    status = (folder / "a.png").stat()
    assert files.stamps[0].tolist() == [4, status.st_mtime_ns] == files.stamps[4].tolist()
    assert files.stamps[5].tolist() == [0, 0]


def test_a_file_with_accents_in_the_other_form_is_said(tmp_path: Path) -> None:
    names = ("vögel/Bild 3 (ü).png", "vögel/none ü.png", "ascii.png")
    (stored := tmp_path / unicodedata.normalize("NFD", "vögel")).mkdir()
    (stored / unicodedata.normalize("NFC", "Bild 3 (ü).png")).write_bytes(b"1234")  # as people add files of their own
    composed = [unicodedata.normalize("NFC", name) for name in names]
    files = named_files([*composed, unicodedata.normalize("NFD", "vögel/none ü.png")], place, tmp_path, [])
    assert files.missing == {0: OTHER_ACCENTS, 1: NOT_THERE, 2: NOT_THERE, 3: NOT_THERE}
    assert not differs_in_accents(tmp_path, f"{stored.name}/{unicodedata.normalize('NFC', 'Bild 3 (ü).png')}")
    assert similar_file(tmp_path, composed[0]) == ""


def test_a_name_with_a_backslash_is_that_of_a_file_where_it_is_one(folder: Path) -> None:
    (folder / "deep\\b.png").write_bytes(b"12")
    assert named_files(["deep\\b.png"], place, folder, []).paths == ["deep\\b.png"]


@pytest.mark.parametrize(
    "name", ["../private/x.png", "deep/../../private/x.png", "/etc/passwd", "{root}/private/x.png"]
)
def test_paths_that_lead_out_are_refused_and_nothing_is_looked_at(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name.format(root=folder.parent)
    monkeypatch.setattr("kd_runner.datasets.tables.named_files._status", None)
    with pytest.raises(ValueError, match=r"^path must stay in .*data and not lead out of it, got ") as error:
        named_files(["a.png", name, name], place, folder, [])
    assert str(error.value).endswith(
        f"got {name} (line 3), {name} (line 4); dataset.may_lead_to=[FOLDER] names another folder in which images of "
        "yours are"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://x.org/a.png", "path must be paths of files, not addresses: download the images first, got https"),
        ("s3://bucket/a.png", "path must be paths of files, not addresses"),
        ("file:///etc/passwd", "path must be paths of files, not addresses"),
        ("C:\\Users\\me\\a.png", "path must be relative to the folder of the images, not of another machine, got C:"),
        ("\\\\server\\share\\a.png", "path must be relative to the folder of the images, not of another machine"),
    ],
)
def test_addresses_and_paths_of_other_machines_are_refused(folder: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        named_files([name], place, folder, [])
    assert str(error.value).startswith(message)


def test_links_stay_in_the_folder_too(folder: Path) -> None:
    (folder / "inside.png").symlink_to("a.png")
    (folder / "gone.png").symlink_to("nothing.png")
    files = named_files(["inside.png", "gone.png"], place, folder, [])
    assert (files.stamps[0, 0], files.missing) == (4, {1: "it is a link that leads nowhere"})
    (folder / "out.png").symlink_to("../private/x.png")
    (folder / "album").symlink_to("../private")
    private = (folder.parent / "private").resolve()
    for name in ("out.png", "album/x.png", "album/none.png"):
        with pytest.raises(ValueError, match="also by links") as error:
            named_files([name], place, folder, [])
        end = os.path.basename(name).replace("out", "x")  # noqa: PTH119
        assert f"got {name} (line 2), which leads to {private / end}; dataset.may_lead_to=" in str(error.value)
    names = ["out.png", "album/x.png", "../private/x.png"]
    allowed = named_files(names, place, folder, [folder.parent / "private"])
    assert (allowed.missing, allowed.paths) == ({}, names)


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert named_files(["a.png", "deep/b.png"], place, folder.parent / "link", []).missing == {}
