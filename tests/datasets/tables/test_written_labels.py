"""Labels as other programs write them."""

from __future__ import annotations

import pytest

from kd_runner.datasets.tables.written_labels import note_decimals, note_missing_words, with_decimals, without_decimals
from kd_runner.notes import collected_notes


@pytest.mark.parametrize(
    ("text", "read"),
    [("3.0", "3"), ("-3.000", "-3"), ("3.", "3"), ("3", "3"), ("3.5", "3.5"), ("a.0", "a.0"), ("٣.0", "٣.0"), ("", "")],
)
def test_a_whole_number_with_decimals_is_the_number(text: str, read: str) -> None:
    assert without_decimals(text) == read


def test_decimals_count_only_where_all_labels_are_whole_numbers() -> None:
    assert with_decimals(["10.0", "9.0", "3"]) == ["9.0", "10.0"]
    assert with_decimals(["10.0", "cat"]) == []
    assert with_decimals(["1", "2"]) == []


def test_notes_name_the_first_number_and_what_becomes_one_class() -> None:
    with collected_notes() as notes:
        note_decimals({"10.0", "2.0", "2"}, " of images.csv")
    assert notes == [
        "labels of images.csv are whole numbers written as decimals, and read as numbers (2.0 as 2); "
        "one class are 2.0 and 2"
    ]


def test_words_for_a_missing_value_are_counted_whatever_their_case() -> None:
    with collected_notes() as notes:
        note_missing_words(["nan", "cat", "NaN", "nan", " N/A "], "of the class", "leave the cell empty")
    assert notes == [
        '1 image is of the class " N/A ": leave the cell empty',
        "1 image is of the class NaN: leave the cell empty",
        "2 images are of the class nan: leave the cell empty",
    ]
