"""The rows of a manifest: what its columns say of each image, checked, and every image once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kd_runner.datasets.folders.split_folders import NAMES, split_called
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import count, list_of_names
from kd_runner.datasets.tables.label_cells import check_cells, labels_in_cell
from kd_runner.datasets.tables.table_file import PARQUET, Table
from kd_runner.datasets.tables.written_labels import note_decimals, with_decimals, without_decimals
from kd_runner.notes import note
from kd_runner.suggestions import did_you_mean

PATH, LABEL, SPLIT, WEIGHT, GROUP, LABELS = COLUMNS = ("path", "label", "split", "weight", "group", "labels")
LARGEST_WEIGHT = 1e30  # far from where float32 ends
EITHER = (LABEL, LABELS)  # one label for each image, or several
# What others call these columns, without signs between words.
OTHER_NAMES = {
    PATH: [
        "file",
        "filename",
        "filepath",
        "image",
        "imagefile",
        "imagename",
        "imagepath",
        "img",
        "imgname",
        "imgpath",
        "imageid",
        "id",
        "name",
        "fname",
    ],
    LABEL: [
        "class",
        "classname",
        "category",
        "categoryname",
        "target",
        "y",
        "labelname",
        "diagnosis",
        "species",
        "breed",
        "classid",
        "labelid",
    ],
    LABELS: ["tags", "classes", "categories", "targets", "findings", "findinglabels", "labelnames", "attributes"],
    SPLIT: ["set", "subset", "partition", "fold", "phase"],
}
UNLABELLED_SPLIT = ("unlabelled", "unlabeled")
SHOWN = 3  # rows in one message


@dataclass(frozen=True)
class Row:
    """The cells of a manifest about one image.

    Args:
        line: The line or row of the manifest, such as 'line 3' or, in a Parquet file, 'row 3'.
        path: The path as it is written there.
        label: The name of its class; empty: it has none.
        split: 'train', 'val' or 'test'; empty where the manifest has no splits or the image no label.
        weight: Its weight in the label loss, 0 or more.
        group: The name of its group; empty: it is in none.
        labels: The names of its labels, sorted, where the manifest gives several; None where it gives one.
    """

    line: str
    path: str
    label: str
    split: str = ""
    weight: float = 1.0
    group: str = ""
    labels: tuple[str, ...] | None = None

    @property
    def is_labelled(self) -> bool:
        """True where it is known what the image shows: it has a label, or none of several that it may have."""
        return bool(self.label) or self.labels is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its labels."""
        return (self.label,) if self.labels is None else self.labels


@dataclass(frozen=True)
class Rows:
    """The rows of a manifest, and which of the columns that need not be there it has."""

    rows: Sequence[Row]
    columns: frozenset[str]

    @property
    def several(self) -> bool:
        """True where an image may have several labels."""
        return LABELS in self.columns


def rows_of(table: Table, names: Mapping[str, str | None]) -> Rows:
    """The rows of a table.

    Args:
        names: The name of each of the COLUMNS in the table; None for one that is not to be read.

    Raises:
        ValueError: a column is missing, or a row says what cannot be; the message begins with the column.
    """
    columns = _columns(table, names)
    unread = [name for number, name in enumerate(table.columns) if number not in columns.values()]
    if unread:
        verb = "is" if len(unread) == 1 else "are"
        note(
            "data",
            f"{count(len(unread), 'column')} of {table.file} {verb} not read: "
            f"{list_of_names(map(decoded_name, unread))}",
        )
    kind = "row" if table.file.suffix.lower() in PARQUET else "line"
    if LABELS in columns:
        cells = [fields[columns[LABELS]] for fields in table.rows]
        check_cells(cells, lambda position: f"{kind} {table.lines[position]}", table.file)
    rows = []
    for line, fields in zip(table.lines, table.rows, strict=True):
        content = {name: fields[number] for name, number in columns.items()}
        rows.append(_row(f"{kind} {line}", content))
    return Rows(_whole_numbers(rows, table), frozenset(columns))


def _whole_numbers(rows: list[Row], table: Table) -> list[Row]:
    """The rows; labels such as 3.0 as 3 where all labels are whole numbers, with a note."""
    names = {name for row in rows if row.is_labelled for name in row.names}
    if not with_decimals(names):
        return rows
    note_decimals(names, f" of {table.file}")
    return [
        replace(row, label=without_decimals(row.label))
        if row.labels is None
        else replace(row, labels=tuple(sorted({without_decimals(name) for name in row.labels})))
        for row in rows
    ]


def _columns(table: Table, names: Mapping[str, str | None]) -> dict[str, int]:
    """The number of each column that is there."""
    columns: dict[str, int] = {}
    for column in COLUMNS:
        number = find_column(table.columns, names[column])
        if number is not None:
            columns[column] = number
        elif column == PATH or names[column] not in (None, column):
            raise ValueError(_no_column(table, column, names))
    present = [column for column in EITHER if column in columns]
    if len(present) == 2:
        label, labels = (decoded_name(table.columns[columns[column]]) for column in EITHER)
        raise ValueError(
            f"label must be null where labels gives several for each image, or labels null, {table.file} has both "
            f"columns, {label} and {labels}"
        )
    if not present:
        asked = [column for column in EITHER if names[column] is not None]
        raise ValueError(_no_column(table, asked[0] if asked else LABEL, names))
    return columns


def find_column(columns: Sequence[str], name: str | None) -> int | None:
    """The number of the column of a name; of names that differ in upper and lower case, where it is the only one."""
    if name is None:
        return None
    if name in columns:
        return list(columns).index(name)
    alike = [number for number, column in enumerate(columns) if column.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def _no_column(table: Table, column: str, names: Mapping[str, str | None]) -> str:
    """The message for a column that is not there, with the columns that may be meant by it and its like."""
    has = list_of_names(map(decoded_name, table.columns), 10)
    missing = [name for name in COLUMNS if names[name] == name and find_column(table.columns, name) is None]
    if len(missing) and any(find_column(table.columns, names[name]) is not None for name in EITHER):
        missing = [name for name in missing if name not in EITHER]  # one of the two is enough
    words = [f"dataset.{name}={meant}" for name in missing if (meant := _meant(table.columns, name))]
    remedy = f"; is it {' '.join(words)}?" if words else ""
    if not remedy and names[column] != column:
        remedy = did_you_mean(str(names[column]), table.columns)
    return (
        f"{column} must be the name of a column, which the first line of {table.file} says: it has {has}, "
        f"got {names[column] or 'null'}{remedy}"
    )


def _meant(columns: Sequence[str], column: str) -> str | None:
    for name in columns:
        if re.sub(r"[\W_]", "", name.casefold()) in OTHER_NAMES.get(column, ()):
            return f"'{name}'" if re.search(r"\W", name) else name
    return None


def _row(line: str, content: Mapping[str, str]) -> Row:
    path, label = content[PATH], content.get(LABEL, "")
    labels = labels_in_cell(content[LABELS]) if LABELS in content else None
    is_labelled = bool(label) or labels is not None
    if not path:
        raise ValueError(f"path must be given in each row, {line} has none")
    split = content.get(SPLIT, "")
    known = split_called(split)
    if is_labelled and SPLIT in content and known is None:
        names = "; ".join(", ".join(words) for words in NAMES.values())
        raise ValueError(f"split must be one of {names}; got {split or 'nothing'} in {line}")
    if not is_labelled and split and known != "train" and split.casefold() not in UNLABELLED_SPLIT:
        raise ValueError(f"label must be given for images of other splits than train, {line} has none ({split})")
    weight = _weight(line, content[WEIGHT]) if is_labelled and WEIGHT in content else 1.0
    return Row(line, path, label, known if is_labelled and known else "", weight, content.get(GROUP, ""), labels)


def _weight(line: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= LARGEST_WEIGHT or "_" in text:
        raise ValueError(f"weight must be a number of 0 or more such as 0.5, got {text or 'nothing'} in {line}")
    return weight


def each_once(rows: Sequence[Row], paths: Sequence[str]) -> list[int]:
    """The positions of the rows, each image once.

    Args:
        paths: The path of each row, written in one way.

    Raises:
        ValueError: two rows of one image say different things; the message begins with the column.
    """
    first: dict[str, int] = {}
    repeated: list[str] = []
    for position, path in enumerate(paths):
        if path not in first:
            first[path] = position
            continue
        earlier_row, row = rows[first[path]], rows[position]
        for column in (LABEL, LABELS, SPLIT, WEIGHT, GROUP):
            values = getattr(earlier_row, column), getattr(row, column)
            if values[0] != values[1]:
                raise ValueError(_twice(column, path, values, earlier_row.line, row.line))
        repeated.append(decoded_name(path))
    if repeated:
        note(
            "data",
            f"{count(len(repeated), 'row')} of images that stand in the manifest already left out: "
            f"{list_of_names(repeated)}",
        )
    return list(first.values())


def _twice(column: str, path: str, values: tuple[Any, Any], first: str, second: str) -> str:
    one, other = ("|".join(value) if isinstance(value, tuple) else value for value in values)
    one, other = (value if value != "" else "none" for value in (one, other))
    must = "be the same in all rows of an image" if column == LABELS else "be one for each image"
    return f"{column} must {must}, {decoded_name(path)} has {one} ({first}) and {other} ({second})"


def refuse_split_groups(rows: Sequence[Row]) -> None:
    """Raise ValueError where images of one group stand in different splits of the manifest."""
    first: dict[str, Row] = {}
    torn: dict[str, tuple[Row, Row]] = {}
    for row in rows:
        if row.group and row.is_labelled and row.split:
            earlier_row = first.setdefault(row.group, row)
            if earlier_row.split != row.split:
                torn.setdefault(row.group, (earlier_row, row))
    if torn:
        name, (first_row, second_row) = next(iter(torn.items()))
        more = f"; so have {len(torn) - 1:,} more groups" if len(torn) > 1 else ""
        raise ValueError(
            f"group must have its images in one split, {decoded_name(name)} has "
            f"{first_row.split} ({first_row.line}) and {second_row.split} ({second_row.line}){more}; "
            "dataset.group=null leaves groups aside"
        )
