"""Labels in files: numbers and texts, the classes that they are, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.datasets.tables.label_values import LONGEST_LIST, classes_and_labels, label_value, names_of_classes
from kd_runner.notes import collected_notes


def test_a_label_is_a_number_or_a_text() -> None:
    values = [" 3\n", "cat", "-2", 4, 2.0, True, "", "  ", None, 2.5, [1], {}, float("nan"), "1.5", "0x1", "007", "-0"]
    expected = [3, "cat", -2, 4, 2, "true", None, None, None, None, None, None, None, "1.5", "0x1", "007", "-0"]
    assert [label_value(value) for value in values] == expected


def test_classes_are_the_labels_of_the_training_images() -> None:
    with collected_notes() as notes:
        assert classes_and_labels({"train": [2, 0, 1, 10] * 2, "test": [1]})[0] == ["0", "1", "2", "10"]
    assert notes == [
        "labels are 0, 1, 2, 10, and become 0 to 3 in this order; a teacher that was trained elsewhere may have them "
        "as they are: dataset.class_names names all"
    ]
    with collected_notes() as notes:
        classes, labels = classes_and_labels({"train": [1, "b", "a", 1], "val": ["a"]})
        assert classes == ["1", "a", "b"]
        assert labels == {"train": [0, 2, 1, 0], "val": [1]}
        named = classes_and_labels({"train": [0, 2], "test": [1]}, ["cat", "dog", "eel"])
        assert named == (["cat", "dog", "eel"], {"train": [0, 2], "test": [1]})
        texts = classes_and_labels({"train": ["eel", "cat"]}, ["eel", "dog", "cat"])
        assert texts == (["eel", "dog", "cat"], {"train": [0, 2]})
    assert notes == []


@pytest.mark.parametrize(
    ("values", "names", "says"),
    [
        (
            {"train": [0, 1], "test": [1, 7]},
            None,
            "labels of the test split must be those that the training images have; 7 is",
        ),
        ({"train": [0, 3]}, ["a", "b"], "train split must be those that dataset.class_names has; 3 is not among them"),
        ({"train": ["a", "c", "d"]}, ["a", "b"], "c, d are not among them"),
        (
            {"train": [0, 1, 2]},
            ["0", "2", "1"],
            "must be in the order of the numbers that they are, got 0, 2, 1",
        ),
        ({"train": [5, 5]}, None, "at least two classes, the training images have 5"),
    ],
)
def test_labels_that_are_no_class_are_refused(
    values: dict[str, list[int | str]], names: list[str] | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        classes_and_labels(values, names)


def test_numbers_with_zeros_before_them_are_numbers_where_all_labels_are() -> None:
    with collected_notes() as notes:
        padded = classes_and_labels({"train": ["00", "01", 10, "02", *range(3, 10)], "test": ["01"]})
        assert padded[0] == [str(number) for number in range(11)]
        assert padded[1] == {"train": [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9], "test": [1]}
        assert classes_and_labels({"train": ["007", "cat"]}) == (["007", "cat"], {"train": [0, 1]})
    assert notes == []
    with collected_notes() as notes:
        assert classes_and_labels({"train": [0, 1, "01"], "test": ["001"]})[1] == {"train": [0, 1, 1], "test": [1]}
    assert notes == ["labels that are one number, written in two ways, are read as one class: 001 and 01 and 1"]


def test_whole_numbers_with_decimals_are_numbers_unless_they_are_the_names_of_classes() -> None:
    with collected_notes() as notes:
        classes, labels = classes_and_labels({"train": ["10.0", "9.0", "0.0", *range(1, 9), "9."], "test": ["10.0", 9]})
    assert classes == [str(number) for number in range(11)]
    assert labels == {"train": [10, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "test": [10, 9]}
    says = "labels are whole numbers written as decimals, and read as numbers (0.0 as 0)"
    assert notes == [f"{says}; one class are 9. and 9, 9.0 and 9"]
    assert classes_and_labels({"train": ["10.0", "9.5"]}) == (["10.0", "9.5"], {"train": [0, 1]})
    names = ["2.0", "1.0"]
    with collected_notes() as notes:
        assert classes_and_labels({"train": ["1.0", "2.0"]}, names) == (names, {"train": [1, 0]})
    assert notes == []


def test_labels_that_may_mean_that_there_is_none_are_noted() -> None:
    with collected_notes() as notes:
        assert classes_and_labels({"train": ["cat", "NaN", "dog"], "test": ["NaN"]})[0] == ["NaN", "cat", "dog"]
    assert notes == ["2 images are of the class NaN: where that means no label, leave it away"]


def test_names_of_classes_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeffcat\r\n\r\ndög\u2028x \r\n\r\n".encode())
    with collected_notes() as notes:
        assert names_of_classes("names.txt", tmp_path) == ["cat", "dög\u2028x"]
    assert notes == [f"left out: 1 empty line of {tmp_path / 'names.txt'}, which has a class in each other"]
    (tmp_path / "long.txt").write_bytes(b"a\nb\n" + b"c" * LONGEST_LIST)
    assert names_of_classes(["a", "b"], tmp_path) == ["a", "b"]
    assert names_of_classes(None, tmp_path) is None
    for given, says in (
        ("none.txt", "cannot be read"),
        (["a"], "two names or more"),
        (["a", "b", "a"], "each once, got a twice"),
        ([str(number) for number in [*range(20_000), 7]], "each once, got 7 twice"),
        ("long.txt", "at most 17 MB, .*long.txt has more"),
    ):
        with pytest.raises(ValueError, match=says):
            names_of_classes(given, tmp_path)
