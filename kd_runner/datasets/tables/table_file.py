"""The table in the file of a manifest, CSV or Parquet: its header, and the fields of its rows as text.

CSV is read by Python's csv module: UTF-8, with or without a byte order mark, any line ends, fields in quotes where they
hold the delimiter. The delimiter is a comma, a semicolon (of spreadsheets in much of Europe) or a tab, whichever leaves
the header with the most columns; a first line `sep=;` says it itself.

A table may be anybody's: a file of more than MOST_BYTES, or of more than MOST_FIELDS rows times columns, is refused
before it fills the memory. A table of 12 million images with four columns is below both.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import list_of_names

DELIMITERS = (",", ";", "\t")
CSV, PARQUET = (".csv", ".tsv"), (".parquet", ".pq")
NO_TEXT = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"PAR1": "Parquet",
}
SUFFIXES = ", ".join((*CSV, *PARQUET))
LEAST_ROWS = 1
MOST_BYTES, MOST_FIELDS = 2**30, 5 * 10**7


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


def is_table_name(path: Path) -> bool:
    """True for the name of a file that is read as a table."""
    return path.suffix.lower() in CSV + PARQUET


def read_table(file: Path) -> Table:
    """The table in a file, whose suffix says its format.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read as a table; the message begins with 'root'.
    """
    if file.is_dir():
        raise ValueError(f"root must be the file of a manifest ({SUFFIXES}), got the folder {file}{_tables_in(file)}")
    if not file.is_file():
        raise FileNotFoundError(f"no file {file.absolute()}: it must be a manifest ({SUFFIXES})")
    if not is_table_name(file):
        raise ValueError(f"root must be a file of {SUFFIXES}, got {file}")
    table = _read_parquet(file) if file.suffix.lower() in PARQUET else _read_csv(file)
    twice = sorted(name for name, number in Counter(table.columns).items() if name and number > 1)
    if twice:
        raise ValueError(f"root must be a table with a name of its own for each column, {file} has two of {twice[0]}")
    if len(table.rows) < LEAST_ROWS:
        raise ValueError(f"root must be a table with rows, {file} has nothing below its header")
    return table


def _tables_in(folder: Path) -> str:
    try:
        names = sorted(path.name for path in folder.iterdir() if is_table_name(path))
    except OSError:
        names = []
    return f", which has {list_of_names(map(decoded_name, names))}" if names else ""


def _read_csv(file: Path) -> Table:
    lines = _lines_of(file)
    first, line = next(((number, line) for number, line in enumerate(lines, 1) if line.strip()), (0, ""))
    delimiter = None
    if line.strip().lower().startswith("sep=") and len(line.strip()) in (4, 5):
        delimiter = line.strip()[4:] or "\t"  # which strip takes away
        first, line = first + 1, next(lines, "")
    if not line:
        raise ValueError(f"root must be a table whose first line names its columns, {file} is empty")
    delimiter = delimiter or max(DELIMITERS, key=lambda sign: len(_fields_of(line, sign)))
    rows = list(_rows_of(file, itertools.chain([line], lines), first, delimiter))
    (_, header), body = rows[0], rows[1:]
    _cut_empty_columns(header, body)
    for number, row in body:
        if len(row) != len(header):
            raise ValueError(
                f"root must be a table with as many fields in each line as in the first, in {file} line {number} has "
                f"{len(row)} and the first {len(header)}; a field that holds {_in_words(delimiter)} must be in quotes"
            )
    return Table(file, header, [row for _, row in body], [number for number, _ in body])


def _cut_empty_columns(header: list[str], body: Sequence[tuple[int, list[str]]]) -> None:
    """Cut off what a spreadsheet leaves behind the last column: it has no name and no content."""
    named = max((number for number, name in enumerate(header, 1) if name), default=1)
    filled = max((number for _, row in body for number in range(len(row), named, -1) if row[number - 1]), default=named)
    width = max(named, filled)
    if width < len(header):
        del header[width:]
        for _, row in body:
            del row[width:]


def _lines_of(file: Path) -> Iterator[str]:
    """The lines of a UTF-8 file without its byte order mark, line ends as they are.

    Raises:
        ValueError: the file is no UTF-8; the message names the line, and what the file seems to be. Or it is too large.
    """
    size = file.stat().st_size
    if size > MOST_BYTES:
        _refuse_size(file, size)
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)  # no more, where the file has grown
    if len(content) > MOST_BYTES:
        _refuse_size(file, len(content))
    for beginning, name in NO_TEXT.items():
        if content.startswith(beginning):
            raise ValueError(f"root must be a table in UTF-8, {file} is {name}: save it as CSV in UTF-8")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"root must be a table in UTF-8, in {file} line {line} has the byte 0x{content[error.start]:02x}, which is "
            "none: save it as CSV in UTF-8"
        ) from None
    if b"\0" in content:
        raise ValueError(f"root must be a table in UTF-8, {file} holds zeros, as UTF-16 and binary files do")
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")


class TooLarge(ValueError):
    """A file that may be a table, and is larger than one that is read."""


def _refuse_size(file: Path, size: int) -> None:
    raise TooLarge(f"root must be a table of at most {MOST_BYTES / 1e6:,.0f} MB, {file} has {size / 1e6:,.0f} MB")


def _refuse_fields(file: Path, shape: str) -> None:
    raise TooLarge(f"root must be a table of at most {MOST_FIELDS:,} fields, rows times columns, {file} has {shape}")


def _fields_of(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _rows_of(file: Path, lines: Iterable[str], first: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, the header among them, each with the number of the line that it begins at.

    Args:
        first: The number of the first of the lines in the file, from 1.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begin, fields = first, 0
    try:
        for row in reader:
            if any(field.strip() for field in row):
                fields += len(row)
                if fields > MOST_FIELDS:
                    _refuse_fields(file, f"more by line {begin:,}")
                yield begin, [field.strip() for field in row]
            begin = first + reader.line_num
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
    if (size := file.stat().st_size) > MOST_BYTES:
        _refuse_size(file, size)
    try:
        columns, texts = _columns_of_parquet(file, parquet)
    except TooLarge:
        raise
    except Exception as error:  # on broken files pyarrow raises errors of many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"root must be a table, {file} cannot be read as Parquet: {reason}") from error
    rows = list(zip(*texts, strict=True)) if texts else []
    return Table(file, columns, rows, range(1, len(rows) + 1))


def _columns_of_parquet(file: Path, parquet: Any) -> tuple[list[str], list[list[str]]]:
    """The names of the columns of a Parquet file, and their fields as text.

    A small file may hold very many fields, and one long text very many times: they are counted first, and a text is
    kept once.
    """
    opened = parquet.ParquetFile(file)
    row_groups = [opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups)]
    if (size := sum(group.total_byte_size for group in row_groups)) > MOST_BYTES:
        _refuse_size(file, size)
    fields = sum(group.column(number).num_values for group in row_groups for number in range(group.num_columns))
    if fields > MOST_FIELDS:
        _refuse_fields(file, f"{fields:,}")
    texts = [field.name for field in opened.schema_arrow if str(field.type) in ("string", "large_string", "binary")]
    table = parquet.ParquetFile(file, read_dictionary=texts).read()
    columns = [str(name).strip() for name in table.column_names]
    return columns, [[text for chunk in column.chunks for text in _texts_of(chunk)] for column in table.columns]


def _texts_of(array: Any) -> list[str]:
    """The fields in an array of Arrow's."""
    if not hasattr(array, "dictionary"):
        return list(map(_text, array.to_pylist()))
    texts = list(map(_text, array.dictionary.to_pylist()))
    return ["" if index is None else texts[index] for index in array.indices.to_pylist()]


def _text(value: Any) -> str:
    """A value as a CSV file has it: nothing for a missing one, 3 for 3.0, which pandas makes of 3 beside gaps.

    A list has '|' between its values. Bytes are texts in UTF-8, as some writers of Parquet store these.
    """
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace").strip()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "|".join(map(_text, value)) if isinstance(value, list) else str(value).strip()
