"""The rows of a manifest: its columns under any name, and what they may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_runner.datasets.tables.rows import COLUMNS, Row, each_once, refuse_split_groups, rows_of
from kd_runner.datasets.tables.table_file import Table
from kd_runner.notes import collected_notes

FILE = Path("m.csv")


def table(header: str, *rows: str) -> Table:
    return Table(FILE, header.split(","), [row.split(",") for row in rows], range(2, 2 + len(rows)))


def names(**other: str | None) -> dict[str, str | None]:
    return {**{name: name for name in COLUMNS}, **other}


def test_columns_are_found_by_the_names_that_a_person_gives_them() -> None:
    content = table("Path,diagnosis,age,patient", "a.png,mole,31,p1", "b.png,,,")
    with collected_notes() as notes:
        rows = rows_of(content, names(label="diagnosis", group="patient"))
    assert list(rows.rows) == [Row("line 2", "a.png", "mole", group="p1"), Row("line 3", "b.png", "")]
    assert notes == ["1 column of m.csv is not read: age"]
    assert rows.columns == {"path", "label", "group"}
    with collected_notes() as notes:
        rows_of(content, names(label="diagnosis"))
    assert notes == ["2 columns of m.csv are not read: age, patient"]


@pytest.mark.parametrize(
    ("header", "other", "message"),
    [
        (
            "file_name,Class Name",
            {},
            "path must be the name of a column, which the first line of m.csv says: it has file_name, Class Name, got "
            "path; is it dataset.path=file_name dataset.label='Class Name'?",
        ),
        (
            "path,target",
            {},
            "label must be the name of a column, which the first line of m.csv says: it has path, target, "
            "got label; is it dataset.label=target?",
        ),
        (
            "path,label,fold",
            {"group": "patient"},
            "group must be the name of a column, which the first line of m.csv says:",
        ),
        (
            "path,label,weights",
            {"weight": "weigths"},
            "weight must be the name of a column, which the first line of m.csv "
            "says: it has path, label, weights, got weigths (did you mean weights?)",
        ),
        ("a.png,cat", {}, "path must be the name of a column, which the first line of m.csv says: it has a.png, cat"),
        (
            "path,Finding Labels",
            {},
            "label must be the name of a column, which the first line of m.csv says: it has path, Finding Labels, got "
            "label; is it dataset.labels='Finding Labels'?",
        ),
        (
            "file,label,classes",
            {},
            "path must be the name of a column, which the first line of m.csv says: it has file, label, classes, got "
            "path; is it dataset.path=file?",
        ),
        ("path,label,tag", {"labels": "tags"}, "labels must be the name of a column, which the first line of m.csv"),
        ("path,a,b", {"label": None}, "labels must be the name of a column, which the first line of m.csv says: it ha"),
        ("path,a,b", {"label": None, "labels": None}, "label must be the name of a column, which the first line of m."),
        (
            "path,Label,labels",
            {},
            "label must be null where labels gives several for each image, or labels null, m.csv has both columns, "
            "Label and labels",
        ),
    ],
)
def test_a_column_that_is_not_there_is_named_with_what_may_be_meant(
    header: str, other: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        rows_of(table(header, "x,y,z"), names(**other))
    assert str(error.value).startswith(message)


def test_a_table_of_one_label_and_several_is_read_as_a_person_says() -> None:
    content = table("path,label,labels", "a.png,mole,mole|scar", "b.png,,")
    one, several = (rows_of(content, names(**{name: None})) for name in ("labels", "label"))
    assert list(one.rows) == [Row("line 2", "a.png", "mole"), Row("line 3", "b.png", "")]
    assert list(several.rows) == [
        Row("line 2", "a.png", "", labels=("mole", "scar")),
        Row("line 3", "b.png", "", labels=()),
    ]
    assert (one.several, several.several) == (False, True)
    assert [row.is_labelled for row in (*one.rows, *several.rows)] == [True, False, True, True]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",a,train,1", "path must be given in each row, line 2 has none"),
        (
            "x,a,hold,1",
            "split must be one of train, training; val, valid, validation, dev; test, testing; got hold in line 2",
        ),
        (
            "x,a,,1",
            "split must be one of train, training; val, valid, validation, dev; test, testing; got nothing in line 2",
        ),
        ("x,,test,1", "label must be given for images of other splits than train, line 2 has none (test)"),
        ("x,a,train,-1", "weight must be a number of 0 or more such as 0.5, got -1 in line 2"),
        ("x,a,train,nan", "weight must be a number of 0 or more such as 0.5, got nan in line 2"),
        ("x,a,train,1_0", "weight must be a number of 0 or more such as 0.5, got 1_0 in line 2"),
        ("x,a,train,1e39", "weight must be a number of 0 or more such as 0.5, got 1e39 in line 2"),
        ("x,a,train,", "weight must be a number of 0 or more such as 0.5, got nothing in line 2"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_line(row: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        rows_of(table("path,label,split,weight", row), names())
    assert str(error.value) == message


def test_an_image_without_a_label_needs_no_split_and_no_weight() -> None:
    content = table("path,label,split,weight", "x,,,", "y,,train,", "z,,unlabelled,")
    assert [row.label for row in rows_of(content, names()).rows] == ["", "", ""]


def rows(*changes: dict[str, Any]) -> list[Row]:
    return [
        Row(**{"line": f"line {number}", "path": "x", "label": "a", **change})
        for number, change in enumerate(changes, 2)
    ]


def test_an_image_is_there_once_and_says_one_thing() -> None:
    with collected_notes() as notes:
        assert each_once(rows({}, {"path": "y"}, {}), ["x", "y", "x"]) == [0, 1]
    assert notes == ["1 row of images that stand in the manifest already left out: x"]
    for change, message in (
        ({"label": "b"}, "label must be one for each image, x has a (line 2) and b (line 3)"),
        ({"label": ""}, "label must be one for each image, x has a (line 2) and none (line 3)"),
        ({"split": "test"}, "split must be one for each image, x has none (line 2) and test (line 3)"),
        ({"weight": 2.0}, "weight must be one for each image, x has 1.0 (line 2) and 2.0 (line 3)"),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            each_once(rows({}, change), ["x", "x"])
        assert str(error.value) == message


def test_a_group_is_in_one_split() -> None:
    split = [("p", "train"), ("p", "train"), ("q", "test"), ("", "test"), ("", "train")]
    refuse_split_groups(rows(*({"group": group, "split": name} for group, name in split)))
    with pytest.raises(ValueError) as error:  # noqa: PT011
        refuse_split_groups(
            rows(*({"group": group, "split": name} for group, name in [*split, ("p", "val"), ("q", "val")]))
        )
    assert str(error.value) == (
        "group must have its images in one split, p has train (line 2) and val (line 7); so have 1 more groups; "
        "dataset.group=null leaves groups aside"
    )
