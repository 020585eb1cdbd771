"""The images of a manifest before they are read: the order of classes, and what cannot be learned from."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import write_image
from manifests import labelled_images, read, refused, write_manifest

from kd_runner.datasets.manifest_parts import ordered_classes


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
