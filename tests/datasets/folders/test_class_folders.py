"""Folders of classes: missing, empty, different between splits, or of odd names."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import read, read_images, refused, write_classes, write_image, write_plain_classes

from kd_runner.datasets.folders.class_folders import class_names
from kd_runner.datasets.folders.tree import Contents


def test_class_folders_that_differ_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", ["Ant", "bee", "Caf\u00e9"])
    write_classes(tmp_path / "test", ["ant", "bee"], start=100)
    assert "only test has ['ant']; ant and Ant differ in upper and lower case" in refused(tmp_path)
    (tmp_path / "test" / "ant").rename(tmp_path / "test" / "Cafe\u0301")
    assert "or in how accents are stored" in refused(tmp_path)
    (tmp_path / "test" / "Cafe\u0301").rename(tmp_path / "test" / "wasp")
    line = refused(tmp_path)
    assert line.endswith("only test has ['wasp']")


def test_a_class_that_cannot_be_learned_is_refused_and_an_empty_folder_is_left_out(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", start=100)
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "test" / "empty").mkdir()
    splits, notes = read(tmp_path)
    assert splits.classes == ["a", "b", "c"]
    assert notes == [f"1 folder under {tmp_path / 'train'} without a file left out: empty"]
    write_image(tmp_path / "test" / "empty" / "0.png", 5000)
    assert f"no images under {tmp_path / 'train' / 'empty'}: a class needs images" in refused(tmp_path)
    (tmp_path / "train" / "empty" / "0.heic").write_bytes(b"x")
    assert "train/empty: it holds 1 .heic; HEIC cannot be read here: " in refused(tmp_path)


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ({}, "no class folders in"),
        ({"0.png": 1}, "it holds 1 image and no folders"),
        ({"data.tar.gz": 0}, "it holds .gz files: unpack them"),
        ({"a/0.png": 1}, "has one class folder, a: there must be at least two classes"),
        (
            {"train/0.png": 1, "train/1.png": 2},
            "train: it must hold a folder of images for each class; it holds 2 images",
        ),
        (
            {"train/a/0.png": 1, "train/b/0.png": 2, "test/0.png": 3},
            "it holds 1 image and no folders; without a folder test, the split is cut from train",
        ),
        ({"train/a/0.png": 1, "train/b/0.png": 2, "val/readme.md": 0}, "it holds 1 .md; without a folder val"),
    ],
)
def test_what_is_no_folder_of_images_says_what_it_holds(tmp_path: Path, layout: dict[str, int], line: str) -> None:
    for path, seed in layout.items():
        write_image(tmp_path / path, seed) if seed else (
            (tmp_path / path).parent.mkdir(exist_ok=True),
            (tmp_path / path).write_text("x"),
        )
    assert line in refused(tmp_path)


def test_classes_that_are_numbers_are_sorted_as_text_and_that_is_said(tmp_path: Path) -> None:
    write_classes(tmp_path, [str(number) for number in range(11)], 4)
    splits, notes = read(tmp_path)
    assert splits.classes[:4] == ["0", "1", "10", "2"]
    (line,) = notes
    assert line.startswith("class names are numbers and sorted as text, as torchvision's ImageFolder does: 0, 1, 10, 2")
    for number in range(11):
        (tmp_path / str(number)).rename(tmp_path / f"{number}.0")
    splits, (line,) = read(tmp_path)
    assert splits.classes[:4] == ["0.0", "1.0", "10.0", "2.0"]
    assert "numbers and sorted as text, as torchvision's ImageFolder does: 0.0, 1.0, 10.0, 2.0" in line
    (tmp_path / "10.0").rename(tmp_path / "9b")
    assert read(tmp_path)[1] == []


def test_an_empty_folder_is_no_class_unless_another_split_has_images_of_it() -> None:
    train = Contents(["a/1.png", "b/2.png"], ["a", "b", "empty"])
    folders = {"train": Path("/x/train"), "test": Path("/x/test")}
    assert class_names(folders, {"train": train, "test": Contents(["a/3.png"], ["a"])}, Path("/x/train")) == ["a", "b"]
    with pytest.raises(FileNotFoundError, match="no images under /x/train/empty: a class needs images"):
        class_names(folders, {"train": train, "test": Contents(["empty/3.png"], ["empty"])}, Path("/x/train"))


def test_class_folders_that_differ_in_case_are_noted(tmp_path: Path) -> None:
    if (write_plain_classes(tmp_path / "images", "Cat", "dog") / "cat").exists():
        pytest.skip("names differ in more than their case on this disk")
    write_plain_classes(tmp_path / "images", "cat")
    assert read_images(tmp_path / "images")[1] == [
        "class folders that differ only in upper and lower case, spaces, zeros before a number or how accents are "
        "stored are read as classes of their own: Cat and cat"
    ]


def test_a_class_of_heic_files_alone_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_plain_classes(tmp_path, "a", "b")
    monkeypatch.setattr("kd_runner.datasets.folders.tree.SUFFIXES", {".png"})
    (root / "c").mkdir()
    for name in ("x.heic", "y.heic", "z"):
        (root / "c" / name).write_bytes(b"x")
    with pytest.raises(FileNotFoundError) as refused:
        read_images(root)
    start = f"no images under {root / 'c'}: it holds 2 .heic, 1 file without a suffix; HEIC cannot be read here: "
    assert str(refused.value).startswith(f"{start}pip install pillow-heif, or convert the files; read are .")
    assert ".png, " in str(refused.value)
    for name in "abc":
        for path in (root / name).glob("*.png"):
            path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"it holds 2 \.heic, 1 file .*; HEIC cannot be read here: .*; read are "
    ):
        read_images(root)
