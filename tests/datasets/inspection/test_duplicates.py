"""Copies of images within and across splits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_folders import read, write_classes, write_image

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.inspection.duplicates import copies_by_digest
from kd_runner.datasets.splits import Split, Splits


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


def test_copies_are_grouped_by_splits_and_by_digests() -> None:
    digests = [[b"a", b"b", b"a"], [b"b"], [b"c", b"a"]]
    copies = copies_by_digest(digests, [torch.tensor([0, 1, 0]), torch.tensor([1]), torch.tensor([0, 1])])
    assert copies.groups == [[(0, 0), (0, 2), (2, 1)], [(0, 1), (1, 0)]]
    assert copies.across == {"train_val": [((0, 1), (1, 0))], "train_test": [((0, 0), (2, 1))], "val_test": []}
    assert copies.of_two_classes == [(0, 0), (0, 2), (2, 1)]
    assert copies.label((2, 1)) == 1
