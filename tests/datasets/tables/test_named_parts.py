"""The images of a manifest before they are read: the order of classes, and what cannot be learned from."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import write_image
from manifests import labelled_images, read, refused, write_manifest

from kd_runner.datasets.tables.named_parts import ordered_classes


def test_classes_are_in_the_order_of_their_numbers_or_their_names(tmp_path: Path) -> None:
    assert ordered_classes({"10", "9", "-1", "010"}) == ["-1", "9", "010", "10"]
    assert ordered_classes({"10", "9", "cat"}) == ["10", "9", "cat"]
    rows = [(path, f"  New York{'' if label == 'a' else ' '}City ") for path, label in labelled_images(tmp_path)]
    splits, notes = read(write_manifest(tmp_path / "m.csv", [*rows, *((path, "new york city") for path, _ in [])]))
    assert splits.classes == ["New York City", "New YorkCity"]
    assert notes == []
    write_image(tmp_path / "more.png", 99)
    many = [*labelled_images(tmp_path), ("more.png", "A"), ("img/0.png", "a")]
    _, notes = read(write_manifest(tmp_path / "m.csv", many), test_fraction=0.1)
    assert notes[0].startswith("1 row of images that stand in the manifest already left out: img/0.png")
    assert notes[1].startswith("labels that differ only in upper and lower case")
    assert notes[1].endswith(": A and a")
    numbers = [(path, "1" if label == "a" else "01") for path, label in labelled_images(tmp_path)]
    splits, notes = read(write_manifest(tmp_path / "m.csv", numbers))
    assert splits.classes == ["01", "1"]
    assert [note.rpartition(": ")[2] for note in notes] == ["01 and 1"]
    assert "zeros before a number" in notes[0]


def test_whole_numbers_with_decimals_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    images = labelled_images(tmp_path, 36)
    rows = [(path, f"{number % 12}.0" if number else "0") for number, (path, _) in enumerate(images)]
    file = write_manifest(tmp_path / "m.csv", [*rows, ("img/1.png", "1.0")])
    splits, notes = read(file, test_fraction=0.1, val_fraction=0.1)
    assert splits.classes == [str(number) for number in range(12)]
    says = f"labels of {file} are whole numbers written as decimals, and read as numbers (0.0 as 0)"
    assert notes[0] == f"{says}; one class are 0.0 and 0"
    several = [(path, "10.0|9.0" if number % 2 else "9.0") for number, (path, _) in enumerate(images)]
    splits, notes = read(write_manifest(tmp_path / "m.csv", several, ("path", "labels")))
    assert splits.classes == ["9", "10"]
    assert notes == [f"{says.replace('0.0 as 0', '9.0 as 9')}"]
    for odd in ("9.5", "cat", "v1.0"):  # then all are texts
        splits, notes = read(
            write_manifest(tmp_path / "m.csv", [(path, (odd, "10.0")[i % 2]) for i, (path, _) in enumerate(images)])
        )
        assert (splits.classes, notes) == (["10.0", odd], [])


def test_labels_and_groups_that_may_mean_that_there_is_none_are_noted(tmp_path: Path) -> None:
    rows = [(path, "nan" if label == "b" else label, "NA") for path, label in labelled_images(tmp_path, 8)]
    rows = [(path, label, group if number < 3 else str(number)) for number, (path, label, group) in enumerate(rows)]
    rows.append(rows[1])  # an image counts once
    splits, notes = read(write_manifest(tmp_path / "m.csv", rows, ("path", "label", "group")))
    assert splits.classes == ["a", "nan"]
    assert notes[-2:] == [
        "4 images are of the class nan: where that means no label, leave the cell empty",
        "3 images are of the group NA: where that means no group, leave the cell empty",
    ]
    several = [(path, f"{label}|None" if label == "a" else "b") for path, label in labelled_images(tmp_path, 8)]
    _, notes = read(write_manifest(tmp_path / "m.csv", several, ("path", "labels")))
    assert "4 images are labelled None: where that means no label, leave the cell empty" in notes


def test_names_that_hold_commas_or_end_in_a_space_are_in_quotes(tmp_path: Path) -> None:
    rows = [(path, "Bär, groß" if label == "a" else "b", "train") for path, label in labelled_images(tmp_path, 4)]
    file = write_manifest(tmp_path / "m.csv", [*rows[1:], (rows[0][0], "c", "test")], ("path", "label", "split"))
    assert refused(file) == 'label must be one that training images have ("Bär, groß", b), got c (test, line 5)'


@pytest.mark.parametrize(
    ("rows", "header", "options", "message"),
    [
        ([("img/0.png", "a"), ("img/1.png", "a")], ("path", "label"), {}, "label must have at least two values"),
        ([("img/0.png", ""), ("img/1.png", "")], ("path", "label"), {}, "label must be given for some images"),
        (
            [("img/0.png", "a", "train"), ("img/1.png", "b", "train"), ("img/2.png", "c", "test")],
            ("path", "label", "split"),
            {},
            "label must be one that training images have (a, b), got c (test, line 4)",
        ),
        (
            [("img/0.png", "a", "test"), ("img/1.png", "b", "val")],
            ("path", "label", "split"),
            {},
            "split must be train for some images, it is test and val alone",
        ),
        (
            [("img/0.png", "a", 0), ("img/1.png", "b", 0)],
            ("path", "label", "weight"),
            {},
            "weight must be above 0 for some training images, it is 0 for all",
        ),
        ([("img/0.png", "a")], ("path", "label"), {"image_root": "nowhere"}, "image_root must be a folder, or null"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, rows: list[tuple[object, ...]], header: tuple[str, ...], options: dict[str, str], message: str
) -> None:
    labelled_images(tmp_path, 3)
    assert refused(write_manifest(tmp_path / "m.csv", rows, header), **options).startswith(message)
