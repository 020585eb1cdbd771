"""Tables as people's programs write them: delimiters, marks, quotes, other encodings, and Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.datasets.manifest_table import read_table

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
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r'pip install "kd-runner\[parquet\]"$'):
        read_table(tmp_path / "m.parquet")
