"""The table of classes on a run's page: its numbers, classes without images, and many classes."""

from __future__ import annotations

from typing import Any

from kd_runner.reports.class_table import class_table


def network(classes: int) -> dict[str, Any]:
    shares = [number / classes for number in range(classes)]
    return {"class_accuracy": shares, "class_precision": [None, *shares[1:]], "class_f1": shares}


def analysis(classes: int, **changes: Any) -> dict[str, Any]:
    networks = {"teacher": network(classes), "student": network(classes)}
    names, images = [f"class {number}" for number in range(classes)], [1000 + number for number in range(classes)]
    return {"classes": names, "test_images": images, "networks": networks, **changes}


def test_a_row_for_each_class() -> None:
    content = analysis(4)
    content["test_images"][3] = 0
    content["networks"]["student"]["class_f1"][3] = content["networks"]["student"]["class_accuracy"][3] = None
    table = class_table(content)
    assert table is not None
    assert table["headings"] == ["test images", "student's precision", "recall", "F1", "teacher's F1"]
    assert table["rows"] == [
        ("class 0", ["1,000", "–", "0.0000", "0.0000", "0.0000"]),
        ("class 1", ["1,001", "0.2500", "0.2500", "0.2500", "0.2500"]),
        ("class 2", ["1,002", "0.5000", "0.5000", "0.5000", "0.5000"]),
        ("class 3", ["0", "0.7500", "–", "–", "0.7500"]),
    ]


def test_of_many_classes_the_worst_are_shown() -> None:
    table = class_table(analysis(1000))
    assert table is not None
    assert [name for name, _ in table["rows"]] == [f"class {number}" for number in range(100)]
    assert table["note"].endswith("Shown are the 100 of 1,000 classes in which the student's F1 is lowest.")


def test_without_the_numbers_there_is_no_table() -> None:
    older = analysis(3)
    del older["networks"]["student"]["class_f1"]
    assert class_table({}) is None
    assert class_table(older) is None
    assert class_table(analysis(3, networks={})) is None
    assert class_table(analysis(3, test_images=[1])) is None
