"""Tables as people's programs write them: delimiters, marks, quotes, other encodings, and Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.datasets.tables import table_file
from kd_runner.datasets.tables.table_file import MOST_BYTES, MOST_FIELDS, read_table

ROWS = [["a.png", "cat"], ["b.png", "dog, brown"]]


@pytest.mark.parametrize(
    "content",
    [
        b'path,label\na.png,cat\nb.png,"dog, brown"\n',
        b'\xef\xbb\xbfpath,label\r\na.png,cat\r\nb.png,"dog, brown"\r\n\r\n',  # a mark at its start, Windows' line ends
        b'path;label\ra.png;cat\rb.png;"dog, brown"',  # a spreadsheet in much of Europe, on an old Macintosh
        b"path\tlabel\n\n a.png \t cat \nb.png\tdog, brown\n\t\n",
        b'sep=|\npath|label\na.png|cat\nb.png|"dog, brown"\n',
        b'\n"path","label",\n"a.png","cat",\n"b.png","dog, brown",\n',  # a comma at the end of each line
    ],
)
def test_tables_of_all_kinds_of_programs_are_the_same_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    table = read_table(tmp_path / "m.csv")
    assert list(table.columns) == ["path", "label"]
    assert [list(row) for row in table.rows] == ROWS


def test_what_lies_behind_the_last_column_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,\na.png,cat,\nb.png,dog,,brown\n")
    with pytest.raises(ValueError, match=r"line 3 has 4 and the first 3;"):
        read_table(tmp_path / "m.csv")


def test_a_table_of_another_size_than_any_honest_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "m.csv"
    with file.open("wb") as sparse:
        sparse.truncate(10 * MOST_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(table_file, "MOST_BYTES", 2_000_000)
        patch.setattr(Path, "open", None)  # nothing is read to know it
        with pytest.raises(ValueError, match=rf"^root must be a table of at most 2 MB, {file} has 10,737 MB$"):
            read_table(file)
    file.write_text("path,label\n" + "\n" * 99 + "a,b\n" * 3)
    monkeypatch.setattr(table_file, "MOST_FIELDS", 8)
    assert len(read_table(file).rows) == 3
    monkeypatch.setattr(table_file, "MOST_FIELDS", 7)
    with pytest.raises(ValueError, match=r"at most 7 fields, rows times columns, \S+ has more by line 103$"):
        read_table(file)
    assert MOST_BYTES >= 10**7 * 60
    assert MOST_FIELDS >= 10**7 * 4


def test_rows_have_the_number_of_their_first_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('path,label\n\na.png,"of two\u2028\nlines"\nb.png,x\n')
    table = read_table(tmp_path / "m.csv")
    assert list(table.lines) == [3, 5]
    assert table.rows[0][1] == "of two\u2028\nlines"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"", "root must be a table whose first line names its columns, {file} is empty"),
        ("m.csv", b"path,label\n", "root must be a table with rows, {file} has nothing below its header"),
        (
            "m.csv",
            "path,label\na.png,Möwe\n".encode("latin-1"),
            "root must be a table in UTF-8, in {file} line 2 has the byte 0xf6, which is none: save it as CSV in UTF-8",
        ),
        (
            "m.csv",
            "path,label\n".encode("utf-16"),
            "root must be a table in UTF-8, {file} is UTF-16: save it as CSV in",
        ),
        ("m.csv", b"path,label\na\0,b\n", "root must be a table in UTF-8, {file} holds zeros"),
        ("m.csv", b"PK\x03\x04xl/", "root must be a table in UTF-8, {file} is a spreadsheet or an archive: save it as"),
        (
            "m.csv",
            b"path,label\na.png,cat\nb.png,dog, brown\n",
            "root must be a table with as many fields in each line as in the first, in {file} line 3 has 3 and the "
            "first 2; a field that holds a comma must be in quotes",
        ),
        (
            "m.csv",
            b'path,label\na.png,"cat\nb.png,dog\n',
            "root must be a table, {file} cannot be read at line 2: the quotes that it opens are never closed",
        ),
        (
            "m.csv",
            b"path,label,label\na,b,c\n",
            "root must be a table with a name of its own for each column, {file} has",
        ),
        ("m.xlsx", b"", "root must be a file of .csv, .tsv, .parquet, .pq, got {file}"),
        pytest.param(
            *("m.parquet", b"PAR1", "root must be a table, {file} cannot be read as Parquet: "),
            marks=pytest.mark.slow,  # importing pyarrow takes a second
        ),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name == "m.parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read_table(file)
    assert str(error.value).startswith(message.format(file=file))
    assert "\n" not in str(error.value)


def test_a_folder_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("x")
    with pytest.raises(ValueError, match=r"^root must be the file of a manifest .*, which has labels.csv$"):
        read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^no file .*none.csv: it must be a manifest"):
        read_table(tmp_path / "none.csv")


@pytest.mark.slow
def test_parquet_is_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    import pyarrow.parquet as parquet

    columns = {"path": ["a.png", "b.png", "c.png"], "label": [1.0, None, 0.0], "weight": [0.5, 2, float("nan")]}
    columns["labels"] = [["cat", "dog"], [], None]
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    table = read_table(tmp_path / "m.parquet")
    assert [list(row) for row in table.rows] == [
        ["a.png", "1", "0.5", "cat|dog"],
        ["b.png", "", "2", ""],
        ["c.png", "0", "", ""],
    ]
    assert list(table.lines) == [1, 2, 3]
    long, many = "x" * 10_000, 100_000
    pyarrow_table = pyarrow.table({"path": [long] * many, "label": pyarrow.array([b"cat"] * many)})
    parquet.write_table(pyarrow_table, tmp_path / "many.parquet")
    rows = read_table(tmp_path / "many.parquet").rows
    assert len(rows) == many
    assert rows[-1] == (long, "cat")
    assert len({id(path) for path, _ in rows}) == 1  # a gigabyte otherwise
    with monkeypatch.context() as patch:
        patch.setattr(table_file, "MOST_FIELDS", many)
        with pytest.raises(ValueError, match=r"at most 100,000 fields, rows times columns, \S+ has 200,000$"):
            read_table(tmp_path / "many.parquet")
        patch.setattr(table_file, "MOST_BYTES", 9_000)
        with pytest.raises(ValueError, match=r"^root must be a table of at most 0 MB"):
            read_table(tmp_path / "many.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r'pip install "kd-runner\[parquet\]"$'):
        read_table(tmp_path / "m.parquet")
