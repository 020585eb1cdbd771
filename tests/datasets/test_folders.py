"""Folders of images as people have them: what is read, what is left out and said, what is refused by name."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from kd_runner.datasets import survey, tree
from kd_runner.datasets.files import ImageFiles
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split, Splits
from kd_runner.notes import collected_notes


def write_classes(folder: Path, names: str | list[str] = "abc", count: int = 10, start: int = 0) -> None:
    """Images of noise, each another one, in a folder for each class."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(start, start + count):
            write_image(folder / name / f"{index}.png", 1000 * number + index)


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)


def read(root: Path | str, **options: Any) -> tuple[Splits, list[str]]:
    """The splits, and what is said of them."""
    with collected_notes() as notes:
        splits = image_folder(str(root), seed=0, image_size=6, **options)
        survey.write_notes(splits, splits.copies)
    return splits, notes


def refused(root: Path | str) -> str:
    """The one line with which the folder is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def sizes(splits: Splits) -> list[int]:
    return [len(splits.train), len(splits.val), len(splits.test)]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("Train", "Validation", "Test"),
        ("TRAIN", "dev", "TESTING"),
    ],
)
def test_splits_by_their_usual_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    for number, (name, count) in enumerate(((train, 30), (val, 10), (test, 8))):
        write_classes(tmp_path / name, count=count, start=100 * number)
    splits, notes = read(tmp_path)
    assert sizes(splits) == [90, 30, 24]
    assert splits.classes == ["a", "b", "c"]
    assert notes == []


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


def test_images_in_folders_below_a_class_are_read_in_torchvisions_order(tmp_path: Path) -> None:
    write_classes(tmp_path / "data")
    for name in "abc":
        for place in ("more", "more/deeper", "more-still", "MORE"):
            write_image(tmp_path / "data" / name / place / "x.JPG", hash((name, place)) % 2**32)
    (tmp_path / "data" / "a" / ".hidden").mkdir()
    write_image(tmp_path / "data" / "a" / ".hidden" / "x.png", 5)
    splits, notes = read(tmp_path / "data", residency="stream")
    assert sizes(splits) == [30, 3, 9]
    assert len(notes) == 1
    assert (
        "each of the folders a, b, c holds MORE, more, more-still: the outer ones are read as the classes" in notes[0]
    )
    everything = tree.contents_of(tmp_path / "data")
    theirs = [os.path.relpath(path, tmp_path / "data") for path, _ in ImageFolder(str(tmp_path / "data")).samples]
    assert everything.images == [path for path in theirs if ".hidden" not in path]
    assert everything.hidden == 1


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_classes(root, "ab")
    write_classes(tmp_path / "elsewhere", ["c"])
    (root / "c").symlink_to(tmp_path / "elsewhere" / "c")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "top").symlink_to("/")
    (root / "a" / "to_b").symlink_to(root / "b")
    (root / "b" / "to_a").symlink_to(root / "a")
    (root / "b" / "self").symlink_to(root / "b" / "self")
    (root / "a" / "gone.png").symlink_to(tmp_path / "gone.png")
    splits, notes = read(root)
    assert splits.classes == ["a", "b", "c"]
    assert sum(sizes(splits)) == 50  # a's with b's behind the link, b's with a's, c's
    assert any("6 links in a circle" in note and "broken link" in note for note in notes)


def test_folders_that_all_link_to_one_another_are_read_once_from_each(tmp_path: Path) -> None:
    names = "abcdefghij"
    for name in names:
        write_image(tmp_path / "data" / name / f"{name}.png", 1)
    for name in names:
        for target in names.replace(name, ""):
            (tmp_path / "data" / name / f"to_{target}").symlink_to(tmp_path / "data" / target)
    contents = tree.contents_of(tmp_path / "data")  # in every order it would be ten million
    assert contents.by_subfolder["c"][:3] == ["c/c.png", "c/to_a/a.png", "c/to_b/b.png"]
    assert {name: len(images) for name, images in contents.by_subfolder.items()} == dict.fromkeys(names, 10)
    assert contents.unread["a/to_b", tree.CIRCLE] == 1  # back to a
    assert contents.unread["a/to_b", tree.REPEATED] == 8


def test_two_links_in_one_folder_are_both_followed(tmp_path: Path) -> None:
    write_classes(tmp_path / "elsewhere", ["x"], count=3)
    for link in ("data/a/first", "data/a/second", "data/b/only"):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "elsewhere" / "x")
    contents = tree.contents_of(tmp_path / "data")
    assert [len(contents.by_subfolder[name]) for name in "ab"] == [6, 3]


def test_what_is_in_a_hidden_folder_is_not_counted(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / ".git" / "objects" / f"{number}.png", number)
    write_image(tmp_path / "a" / ".0.png", 1)
    contents = tree.contents_of(tmp_path)
    assert (contents.hidden, contents.images, contents.folders) == (2, [], ["a"])


def test_a_class_without_test_images_is_said_once(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", count=30)
    write_classes(tmp_path / "val", "bc", start=50)
    write_classes(tmp_path / "test", "ab", start=100)
    splits, notes = read(tmp_path)
    assert sizes(splits) == [90, 20, 20]
    assert notes == [
        "1 of 3 classes has no validation images (a): validation is scored on the other 2",
        "1 of 3 classes has no test images (c): the test is scored on the other 2",
    ]
    record = survey.record(splits)
    assert record["missing_classes"] == {"train": [], "val": ["a"], "test": ["c"]}
    assert record["largest_class"]["test"] == {"class": "a", "images": 10, "share": 0.5}
    (tmp_path / "test" / "c").mkdir()
    assert read(tmp_path)[1] == notes


def test_classes_of_few_images_in_a_cut(tmp_path: Path) -> None:
    write_classes(tmp_path, ["many"], 30)
    write_classes(tmp_path, ["one"], 1, start=50)
    write_classes(tmp_path, ["two"], 2, start=60)
    splits, notes = read(tmp_path)
    train, val, test = (
        torch.bincount(part.labels, minlength=3).tolist() for part in (splits.train, splits.val, splits.test)
    )
    assert (train[1:], val[1:], test[1:]) == ([1, 1], [0, 0], [0, 1])
    assert notes == [
        "2 of 3 classes have no validation images (one, two): validation is scored on the other 1",
        "1 of 3 classes has no test images (one): the test is scored on the other 2",
    ]


@pytest.mark.parametrize(
    ("folders", "line"),
    [
        (("train", "val", "valid"), "has val and valid, both a name of the val split: keep one of them"),
        (("train", "Train"), "both a name of the train split"),
        (("train", "test_set"), "test_set looks like the test split, and is not called so: rename it (test, testing)"),
        (("Train", "testData"), "testData looks like the test split"),
        (("train", "test", "val-images"), "val-images looks like the val split"),
        (("train", "eval"), "eval looks like the test or val split"),
        (("train", "test", "hold-out"), "hold-out looks like the val split"),
        (("train", "Foo"), "Foo looks like the test split"),
        (("test", "train_images"), "train_images looks like the train split"),
        (("test", "val"), "has a folder val and test and none called train"),
        (
            ("train_set", "test_set"),
            "has folders that look like splits, test_set, train_set: call them train or training;",
        ),
        (("TrainingData", "other"), "has folders that look like splits"),
    ],
)
def test_folders_that_may_be_splits_are_refused_by_name(tmp_path: Path, folders: tuple[str, ...], line: str) -> None:
    for number, name in enumerate(folders):
        write_classes(tmp_path / name, start=100 * number)
    if "other" in folders:
        write_classes(tmp_path / "another", "xy")
    assert line in refused(tmp_path)


def test_other_folders_beside_splits_are_left_out_and_counted(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "test", "extra", "train_old")):
        write_classes(tmp_path / name, start=100 * number)
    (tmp_path / "devkit").mkdir()
    (tmp_path / "devkit" / "readme.txt").write_text("of the data set")
    splits, notes = read(tmp_path)
    assert sizes(splits) == [27, 3, 30]
    assert notes == [
        f"61 files under {tmp_path} left out: 60 .png, 1 .txt, in extra (30), train_old (30), devkit (1); "
        "60 of them are images outside the class folders that are read"
    ]


def test_a_class_called_train_is_a_class_beside_others(tmp_path: Path) -> None:
    write_classes(tmp_path, ["bus", "car", "train"])
    splits, notes = read(tmp_path)
    assert splits.classes == ["bus", "car", "train"]
    assert notes == ["train is read as a class, as it holds images and no folders, like bus, car"]


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
        "; 1 of them are images outside the class folders that are read; 4 hidden files or folders beside them"
    )
    assert "8 files left out" in survey.line(splits)


def test_hidden_files_alone_make_no_note(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    splits, notes = read(tmp_path)
    assert notes == []
    assert survey.line(splits) == (
        "21 training, 3 validation, 6 test images of 3x6x6, 3 classes; validation (val_fraction=0.1: 12 %, at least "
        "one of each class) and test (test_fraction=0.2) are cut from the training images; 1 hidden file or folder"
    )


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


def test_one_folder_around_everything_is_opened_and_said(tmp_path: Path) -> None:
    write_classes(tmp_path / "pictures" / "inner" / "train")
    (tmp_path / "README.txt").write_text("x")
    splits, notes = read(tmp_path)
    assert sizes(splits) == [21, 3, 6]
    assert notes == [
        f"{tmp_path} holds one folder with folders in it, pictures/inner: that one is read",
        f"1 file under {tmp_path} left out: 1 .txt, in . (1)",
    ]


def test_classes_that_are_numbers_are_sorted_as_text_and_that_is_said(tmp_path: Path) -> None:
    write_classes(tmp_path, [str(number) for number in range(11)], 4)
    splits, notes = read(tmp_path)
    assert splits.classes[:4] == ["0", "1", "10", "2"]
    (line,) = notes
    assert line.startswith("class names are numbers and sorted as text, as torchvision's ImageFolder does: 0, 1, 10, 2")
    (tmp_path / "10").rename(tmp_path / "9b")
    assert read(tmp_path)[1] == []


def test_folders_of_folders_with_the_same_names_are_said(tmp_path: Path) -> None:
    for number, name in enumerate(("amazon", "webcam")):
        write_classes(tmp_path / name, start=100 * number)
    splits, notes = read(tmp_path)
    assert splits.classes == ["amazon", "webcam"]
    assert "each of the folders amazon, webcam holds a, b, c: the outer ones are read as the classes" in notes[0]


def test_habits_of_naming_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "meine Bilder 動物"
    write_classes(root, ["é è", "日本"])
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = read(root)[0]
    for name in (f"{root}/", f"~/{root.name}", root.name, "link", f"./{root.name}/../link/", "link/."):
        splits, _ = read(name)
        assert splits.classes == ["é è", "日本"]
        assert splits.fingerprint == expected.fingerprint
    (tmp_path / "file.png").write_bytes(b"x")
    assert refused("file.png").startswith("root must be a folder or an archive (.zip, ")
    assert refused("nowhere").startswith(f"no folder {tmp_path / 'nowhere'}: it must hold train/CLASS/*")
    (tmp_path / "none").mkdir()
    assert refused("none").startswith(f"no class folders in {tmp_path / 'none'}")


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


def test_a_thousand_classes(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"n{number:04d}").mkdir()
        for index in range(3):
            image = Image.new("L", (2, 2))
            image.putdata([number % 256, number // 256, index, 7])
            image.save(tmp_path / f"n{number:04d}" / f"{index}.bmp")
    with collected_notes() as notes:
        splits = image_folder(str(tmp_path), seed=0, image_size=2, color="gray")
        survey.write_notes(splits, splits.copies)
    assert sizes(splits) == [1000, 1000, 1000]
    assert notes == []


def test_copies_across_splits_and_under_two_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", start=100)
    write_classes(tmp_path / "test", start=200)
    write_image(tmp_path / "test" / "a" / "copy.png", 3)  # train/a/3.png
    write_image(tmp_path / "test" / "b" / "copy.png", 4)  # train/a/4.png, and another class
    write_image(tmp_path / "val" / "c" / "copy.bmp", 2005)  # train/c/5.png, another file with the same pixels
    splits, notes = read(tmp_path)
    assert splits.copies is not None
    assert splits.copies.record() == {"train_val": 1, "train_test": 2, "val_test": 0, "two_classes": 2}
    assert notes == [
        "1 of 31 validation images and 2 of 32 test images are the same as training images once read at 6x6: accuracy "
        "on them tells what was learned by heart (dataset=? names some)",
        "2 images stand under two classes or more, and are the same once read at 6x6: no network can have them all "
        "right (dataset=? names some)",
    ]
    streamed, notes = read(tmp_path, residency="stream")
    assert isinstance(streamed.train, ImageFiles)
    assert streamed.copies is None
    assert survey.record(streamed)["duplicates"] is None
    assert notes == []


@pytest.mark.parametrize("side", [5, 32, 100])
def test_images_that_differ_in_one_pixel_are_no_copies(side: int) -> None:
    images = torch.zeros(3, 1, side, side, dtype=torch.uint8)
    images[1, 0, side - 1, side - 2] = 1  # off the grid by which large images are told apart first
    labels = torch.tensor([0, 0, 1])
    part = Split(images, labels)
    other = Split(images[1:2].clone() + 5, labels[:1])
    splits = Splits(part, other, Split(images[1:2].clone(), labels[:1]), ["a", "b"])
    assert splits.copies is not None
    assert splits.copies.record() == {"train_val": 0, "train_test": 1, "val_test": 0, "two_classes": 2}
    assert sorted(map(tuple, splits.copies.groups)) == [((0, 0), (0, 2)), ((0, 1), (2, 0))]


def test_unreadable_images_are_left_out_with_their_paths(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", start=100)
    for name in ("train/a/3.png", "test/b/101.png"):
        (tmp_path / name).write_bytes(b"broken")
    splits, notes = read(tmp_path, on_bad_image="skip")
    assert sizes(splits) == [26, 3, 29]
    assert notes == [
        f"2 of 60 images under {tmp_path} cannot be read and are left out (dataset.on_bad_image): "
        "train/a/3.png, test/b/101.png"
    ]
    assert survey.record(splits)["left_out"]["unreadable"] == 2


def test_data_sets_without_a_survey_are_counted_too() -> None:
    images = torch.arange(8 * 4, dtype=torch.uint8).view(8, 1, 2, 2)
    labels = torch.tensor([0, 0, 0, 1, 1, 0, 0, 1])
    splits = Splits(*(Split(images[part], labels[part]) for part in (slice(5), slice(5, 7), slice(7, 8))), ["a", "b"])
    record = survey.record(splits)
    assert record["left_out"] is None
    assert (record["classes"], record["train"], record["val"], record["test"]) == (2, 5, 2, 1)
    assert record["missing_classes"] == {"train": [], "val": ["b"], "test": ["a"]}
    assert survey.line(splits) == "5 training, 2 validation, 1 test images of 1x2x2, 2 classes"


def test_a_run_keeps_what_was_read_and_scores_the_classes_that_are_there(tmp_path: Path, result_of: Any) -> None:
    root = tmp_path / "images"
    write_classes(root / "train", count=20)
    write_classes(root / "test", "ab", start=100)
    write_image(root / "test" / "a" / "copy.png", 3)
    (root / "labels.csv").write_text("x")
    (root / ".hidden").write_text("x")
    words = ["dataset=image_folder", f"dataset.root={root}", "dataset.image_size=8", "dataset.cache=null"]
    result = result_of(*words, "baseline=false")
    share = {"class": "a", "images": 11, "share": 11 / 21}
    assert result["data"] == {
        "classes": 3,
        "train": 54,
        "val": 6,
        "test": 21,
        "largest_class": {
            "train": {"class": "a", "images": 18, "share": 1 / 3},
            "val": {"class": "a", "images": 2, "share": 1 / 3},
            "test": share,
        },
        "missing_classes": {"train": [], "val": [], "test": ["c"]},
        "left_out": {"files": 1, "kinds": {".csv": 1}, "places": {".": 1}, "hidden": 1, "unreadable": 0},
        "duplicates": result["data"]["duplicates"],
    }
    assert sum(result["data"]["duplicates"].values()) == 1  # the copy's original is in train, or was cut for validation
    assert any("1 of 3 classes has no test images (c)" in note for note in result["notes"])
    folder = Path(result["student"]["checkpoint"]).parent
    assert (folder / "report.html").exists()
    analysis = json.loads((folder / "analysis.json").read_text())
    assert analysis["test_images"] == [11, 10, 0]
    assert analysis["networks"]["student"]["class_accuracy"][2] is None


def test_the_contents_of_subfolders_are_split_in_one_pass() -> None:
    contents = tree.Contents(
        images=["a.png", "a/1.png", "a/b/2.png", "ab/3.png"],
        folders=["a", "a/b", "ab", "c"],
        unread=Counter({("", ".txt"): 1, ("a", ".txt"): 2, ("a/b", ".csv"): 3}),
    )
    below = contents.below("a")
    assert below == tree.Contents(["1.png", "b/2.png"], ["b"], Counter({("", ".txt"): 2, ("b", ".csv"): 3}))
    assert contents.below("c") == tree.Contents()
    # One pass for all: with a pass for each, a thousand classes of a thousand images took three minutes.
    assert contents.below("a") is below
