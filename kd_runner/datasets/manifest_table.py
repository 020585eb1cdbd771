"""The table in the file of a manifest, CSV or Parquet: its header, and the fields of its rows as text.

CSV is read by Python's csv module: UTF-8, with or without a byte order mark, any line ends, fields in quotes where they
hold the delimiter. The delimiter is a comma, a semicolon (of spreadsheets in much of Europe) or a tab, whichever leaves
the header with the most columns; a first line `sep=;` says it itself.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.datasets.survey import list_of_names
from kd_runner.datasets.tree import printable

DELIMITERS = (",", ";", "\t")
CSV, PARQUET = (".csv", ".tsv"), (".parquet", ".pq")
NO_TEXT = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"PAR1": "Parquet",
}
LEAST_ROWS = 1


@dataclass(frozen=True)
class Table:
    """A table whose first row names the columns.

    Args:
        file: The file that it was read from.
        columns: The names of the columns, without spaces around them.
        rows: The fields of each row, as many as there are columns; without spaces around them.
        lines: The line of the file that each row begins at, or the number of the row in a Parquet file, from 1.
    """

    file: Path
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]


def read_table(file: Path) -> Table:
    """The table in a file, whose suffix says its format.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read as a table; the message begins with 'root'.
    """
    if file.is_dir():
        raise ValueError(
            f"root must be the file of a manifest ({_suffixes()}), got the folder {file}{_tables_in(file)}"
        )
    if not file.is_file():
        raise FileNotFoundError(f"no file {file.absolute()}: it must be a manifest ({_suffixes()})")
    suffix = file.suffix.lower()
    if suffix not in CSV + PARQUET:
        raise ValueError(f"root must be a file of {_suffixes()}, got {file}")
    table = _read_parquet(file) if suffix in PARQUET else _read_csv(file)
    twice = sorted({name for name in table.columns if name and table.columns.count(name) > 1})
    if twice:
        raise ValueError(f"root must be a table with a name of its own for each column, {file} has two of {twice[0]}")
    if len(table.rows) < LEAST_ROWS:
        raise ValueError(f"root must be a table with rows, {file} has nothing below its header")
    return table


def _suffixes() -> str:
    return ", ".join((*CSV, *PARQUET))


def _tables_in(folder: Path) -> str:
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in CSV + PARQUET)
    except OSError:
        names = []
    return f", which has {list_of_names(map(printable, names))}" if names else ""


def _read_csv(file: Path) -> Table:
    lines = list(io.StringIO(text_of(file), newline=""))
    first = 0
    while first < len(lines) and not lines[first].strip():
        first += 1
    delimiter = None
    declared = lines[first].strip().lower() if first < len(lines) else ""
    if declared.startswith("sep=") and len(declared) == 5:
        delimiter, first = lines[first].strip()[4], first + 1
    elif declared == "sep=":  # a tab, which strip takes away
        delimiter, first = "\t", first + 1
    if first == len(lines):
        raise ValueError(f"root must be a table whose first line names its columns, {file} is empty")
    delimiter = delimiter or max(DELIMITERS, key=lambda sign: len(_fields_of(lines[first], sign)))
    rows = list(_rows_of(file, lines, first, delimiter))
    (_, header), body = rows[0], rows[1:]
    # What a spreadsheet leaves behind the last column has no name and no content.
    while (
        len(header) > 1
        and not header[-1]
        and not any(len(row) >= len(header) and row[len(header) - 1] for _, row in body)
    ):
        header.pop()
        for _, row in body:
            del row[len(header) :]
    for line, row in body:
        if len(row) != len(header):
            raise ValueError(
                f"root must be a table with as many fields in each line as in the first, in {file} line {line} has "
                f"{len(row)} and the first {len(header)}; a field that holds {_in_words(delimiter)} must be in quotes"
            )
    return Table(file, header, [row for _, row in body], [line for line, _ in body])


def text_of(file: Path) -> str:
    """The text of a UTF-8 file without its byte order mark, line ends as they are.

    Raises:
        ValueError: the file is no UTF-8; the message names the line, and what the file seems to be.
    """
    content = file.read_bytes()
    for beginning, name in NO_TEXT.items():
        if content.startswith(beginning):
            raise ValueError(f"root must be a table in UTF-8, {file} is {name}: save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"root must be a table in UTF-8, in {file} line {line} has the byte 0x{content[error.start]:02x}, which is "
            "none: save it as CSV in UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"root must be a table in UTF-8, {file} holds zeros, as UTF-16 and binary files do")
    return text


def _fields_of(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _rows_of(file: Path, lines: Sequence[str], first: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, the header among them, each with the number of the line that it begins at."""
    reader = csv.reader(lines[first:], delimiter=delimiter, strict=True)
    begin = first + 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield begin, [field.strip() for field in row]
            begin = first + reader.line_num + 1
    except csv.Error as error:
        reason = "the quotes that it opens are never closed" if "unexpected end" in str(error) else str(error)
        raise ValueError(f"root must be a table, {file} cannot be read at line {begin}: {reason}") from None


def _in_words(delimiter: str) -> str:
    return {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(delimiter, delimiter)


def _read_parquet(file: Path) -> Table:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise ValueError(
            f'root must be a .csv file where pyarrow is not installed, got {file}: pip install "kd-runner[parquet]"'
        ) from None
    try:
        table = parquet.read_table(file)
        columns = [str(name).strip() for name in table.column_names]
        values = [table.column(number).to_pylist() for number in range(table.num_columns)]
    except Exception as error:  # on broken files pyarrow raises errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"root must be a table, {file} cannot be read as Parquet: {reason}") from error
    texts = [[_text(value) for value in column] for column in values]
    rows = list(zip(*texts, strict=True)) if texts else []
    return Table(file, columns, rows, range(1, len(rows) + 1))


def _text(value: Any) -> str:
    """A value as a CSV file has it: nothing for a missing one, 3 for 3.0, which pandas makes of 3 beside gaps.

    A list has '|' between its values.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "|".join(map(_text, value)) if isinstance(value, list) else str(value).strip()
