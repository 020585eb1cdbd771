"""The counts of a data set on the page of a run."""

from __future__ import annotations

from data_records import DATA
from made_runs import class_names

from kd_runner.reports.data_table import data_lines, data_table


def test_the_table_of_the_data() -> None:
    shown = data_table(DATA)
    assert shown is not None
    assert shown["headings"] == ["training", "validation", "test"]
    assert dict(shown["rows"]) == {
        "images": ["1,090", "18", "30"],
        "classes with images": ["3", "3", "2 of 3"],
        "largest class": ["ant, 33.3 %", "a class of a ve…, 50.0 %", "–"],
        "also among the training images": ["", "0", "3"],
        "also among the validation images": ["", "", "1"],
    }
    assert data_lines(DATA) == [
        "Without test images: cat.",
        "Not read, 12 files: no suffix (7), .txt (5); in . (10), train (2).",
        "Left out, as they cannot be read: 2 images.",
        "Hidden files and folders, not counted above: 1.",
        "The same picture under two classes or more: 1 image.",
    ]


def test_data_that_say_little() -> None:
    assert data_table({}) is None
    assert data_lines({}) == []
    quiet = {"classes": 10, "train": 60000, "val": 5000, "test": 10000, "left_out": None, "duplicates": None,
             "missing_classes": {"train": [], "val": [], "test": []}}  # fmt: skip
    shown = data_table(quiet)
    assert shown is not None
    assert [name for name, _ in shown["rows"]] == ["images", "classes with images"]
    assert data_lines(quiet) == []
    lines = data_lines({"missing_classes": {"test": class_names(40)}})
    assert lines[0].endswith("class009 and 30 more.")


def test_a_long_name_is_cut_and_its_count_is_not() -> None:
    folder = "f" * 60
    assert data_lines({"left_out": {"files": 12, "places": {folder: 1234}}}) == [
        f"Not read, 12 files; in {'f' * 39}… (1,234)."
    ]
