"""Folders of splits: the names that are read, and the doubtful ones that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import read, refused, sizes, write_classes

from kd_runner.datasets.folders.split_folders import similar_splits, split_called


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


def test_folders_of_folders_with_the_same_names_are_said(tmp_path: Path) -> None:
    for number, name in enumerate(("amazon", "webcam")):
        write_classes(tmp_path / name, start=100 * number)
    splits, notes = read(tmp_path)
    assert splits.classes == ["amazon", "webcam"]
    assert "each of the folders amazon, webcam holds a, b, c: the outer ones are read as the classes" in notes[0]


@pytest.mark.parametrize(
    ("name", "split", "similar"),
    [
        ("Train", "train", {"train"}),
        ("dev", "val", {"val"}),
        ("testData", None, {"test"}),
        ("held-out", None, {"val", "test"}),
        ("trn2", None, {"train"}),
        ("my_val_images", None, {"val"}),
        ("bus", None, set()),
        ("contest", None, set()),
    ],
)
def test_names_of_splits_and_names_like_them(name: str, split: str | None, similar: set[str]) -> None:
    assert split_called(name) == split
    assert similar_splits(name) == similar
