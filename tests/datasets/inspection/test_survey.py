"""The numbers of a data set: in a line, in a record, and in notes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from image_folders import read, sizes, write_classes

from kd_runner.datasets.inspection import survey
from kd_runner.datasets.splits import Split, Splits
from kd_runner.notes import collected_notes


def test_hidden_files_alone_make_no_note(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    splits, notes = read(tmp_path)
    assert notes == []
    assert survey.line(splits) == (
        "21 training, 3 validation, 6 test images of 3x6x6, 3 classes; validation (val_fraction=0.1: 12 %, at least "
        "one of each class) and test (test_fraction=0.2) are cut from the training images; 1 hidden file or folder"
    )


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


def test_data_sets_without_a_survey_are_counted_too() -> None:
    images = torch.arange(8 * 4, dtype=torch.uint8).view(8, 1, 2, 2)
    labels = torch.tensor([0, 0, 0, 1, 1, 0, 0, 1])
    splits = Splits(*(Split(images[part], labels[part]) for part in (slice(5), slice(5, 7), slice(7, 8))), ["a", "b"])
    record = survey.record(splits)
    assert record["left_out"] is None
    assert (record["classes"], record["train"], record["val"], record["test"]) == (2, 5, 2, 1)
    assert record["missing_classes"] == {"train": [], "val": ["b"], "test": ["a"]}
    assert survey.line(splits) == "5 training, 2 validation, 1 test images of 1x2x2, 2 classes"


def test_numbers_in_words() -> None:
    assert [survey.count(number, "image") for number in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert [survey.hidden_in_words(number) for number in (1, 2)] == [
        "1 hidden file or folder",
        "2 hidden files or folders",
    ]
    assert survey.list_of_names("abcdefg") == "a, b, c, d, e and 2 more"
    kinds = Counter({".png": 2, ".txt": 5, "link in a circle": 1, "no suffix": 1, ".md": 1})
    assert survey.kinds_in_words(kinds) == "5 .txt, 2 .png, 1 .md and 2 of other kinds"


def test_what_is_left_out_is_given_from_the_most_to_the_fewest() -> None:
    folders = Counter({"b": 2, "a": 2, ".": 1, "c": 1, "d": 3})
    left_out = survey.LeftOut(Counter({".txt": 8, ".png": 1}), folders, images=1, hidden=2)
    assert str(left_out) == (
        "8 .txt, 1 .png, in d (3), a (2), b (2) and 2 other folders (2); 1 of them is an image outside the class "
        "folders that are read; 2 hidden files or folders beside them"
    )
    assert left_out.record() == {
        "files": 9,
        "kinds": {".txt": 8, ".png": 1},
        "places": {"d": 3, "a": 2, "b": 2, ".": 1, "c": 1},
        "hidden": 2,
        "unreadable": 0,
    }


def test_kinds_are_counted_in_words() -> None:
    kinds = survey.Counter({"no suffix": 12, "broken link": 1, ".txt": 2})
    assert survey.kinds_in_words(kinds) == "12 files without a suffix, 2 .txt, 1 broken link"


def test_rows_with_one_label_each_are_said_to_be_several_labels() -> None:
    images = torch.zeros(6, 1, 4, 4, dtype=torch.uint8)
    one, several = torch.eye(3, dtype=torch.uint8).repeat(2, 1), torch.ones(6, 3, dtype=torch.uint8)
    for labels, count in ((one, 1), (several, 0)):
        split = Split(images, labels)
        with collected_notes() as notes:
            survey.write_notes(Splits(split, split, split, ["a", "b", "c"]), None)
        assert sum("each training image has one of the 3 labels" in text for text in notes) == count
