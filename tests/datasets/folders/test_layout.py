"""The layout of a folder: where its splits are, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from image_folders import read, refused, sizes, write_classes, write_image

from kd_runner.datasets.folders.layout import layout_of
from kd_runner.datasets.inspection import survey


def test_pictures_beside_the_class_folders_are_counted(tmp_path: Path) -> None:
    write_classes(tmp_path / "Train", count=30)
    write_classes(tmp_path / "Test", count=10, start=100)
    write_image(tmp_path / "Train" / "cover.png", 9000)
    write_image(tmp_path / "Test" / "cover.png", 9001)
    splits, notes = read(tmp_path)
    assert sizes(splits) == [81, 9, 30]
    assert notes == [
        f"2 files under {tmp_path} left out: 2 .png, in Test (1), Train (1); "
        "2 of them are images outside the class folders that are read"
    ]


def test_everything_that_is_not_read_is_counted_by_kind_and_place(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", start=100)
    left_out = {
        "README": 1, "labels.csv": 1, "train/a/notes.txt": 1, "train/a/deep/more.TXT": 1, "train/b/photo.heic": 1,
        "test/loose.png": 1, "test/a/inner.zip": 1,
    }  # fmt: skip
    for path in (*left_out, ".DS_Store", "train/a/._0.png", "__MACOSX/a.png", "train/Thumbs.db"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    os.mkfifo(tmp_path / "train" / "c" / "pipe.png")
    splits, notes = read(tmp_path)
    assert splits.survey is not None
    record = splits.survey.left_out.record()
    kinds = {".txt": 2, ".csv": 1, ".heic": 1, ".png": 1, ".zip": 1, "no regular file": 1, "no suffix": 1}
    assert list(record["kinds"].items()) == list(kinds.items())
    places = {".": 2, "train/a": 2, "test": 1, "test/a": 1, "train/b": 1, "train/c": 1}
    assert list(record["places"].items()) == list(places.items())
    assert (record["files"], record["hidden"], record["unreadable"]) == (8, 4, 0)
    (line,) = notes
    assert line.startswith(
        f"8 files under {tmp_path} left out: 2 .txt, 1 .csv, 1 .heic and 4 of other kinds, in . (2), "
        "train/a (2), test (1) and 3 other folders (3)"
    )
    assert line.endswith(
        "; 1 of them is an image outside the class folders that are read; 4 hidden files or folders beside them"
        "; HEIC cannot be read here: pip install pillow-heif, or convert the files"
    )
    assert "8 files left out" in survey.line(splits)


def test_one_folder_around_everything_is_opened_and_said(tmp_path: Path) -> None:
    write_classes(tmp_path / "pictures" / "inner" / "train")
    (tmp_path / "README.txt").write_text("x")
    splits, notes = read(tmp_path)
    assert sizes(splits) == [21, 3, 6]
    assert notes == [
        f"{tmp_path} holds one folder with folders in it, pictures/inner: that one is read",
        f"1 file under {tmp_path} left out: 1 .txt, in . (1)",
    ]


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test")
    (tmp_path / "private").mkdir()
    closed = tmp_path / "test" / "b"
    really = os.scandir

    def scandir(path: Path) -> Any:
        if str(path) in (str(closed), str(tmp_path / "private")):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert refused(tmp_path) == f"{closed} cannot be opened: it must be readable, or lie elsewhere"
    closed = tmp_path
    assert "cannot be opened (Permission denied)" in refused(tmp_path)
    closed = tmp_path / "nowhere"
    assert "1 folder that cannot be opened, in private (1)" in read(tmp_path)[1][0]


def test_the_layout_of_splits_and_of_classes(tmp_path: Path) -> None:
    for path in ("in/Train/b/1.png", "in/Train/a/x/2.png", "in/test/b/3.png"):
        write_image(tmp_path / path, 0)
    layout = layout_of(tmp_path)
    assert (layout.root, layout.classes) == (tmp_path, ["a", "b"])
    assert layout.splits == {"train": tmp_path / "in" / "Train", "test": tmp_path / "in" / "test"}
    assert layout.images == {"train": {"a": ["a/x/2.png"], "b": ["b/1.png"]}, "test": {"a": [], "b": ["b/3.png"]}}
    assert layout.left_out.files == 0
    layout = layout_of(tmp_path / "in" / "Train")
    assert layout.splits == {"train": tmp_path / "in" / "Train"}
    assert layout.images == {"train": {"a": ["a/x/2.png"], "b": ["b/1.png"]}}
