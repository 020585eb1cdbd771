"""Cells of tables: no spreadsheet computes one, and none ends its cell, its line or its block of code."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_runner.plain_text import NUMBER, csv_cell, markdown_code, markdown_text

ANY_TEXT = st.text(st.characters(codec=None), max_size=30)
steady = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1-1",
        "=1",
        "-",
        "+x",
        "-1:2",
        "-1\n",
        "-١",
        "@SUM(A1)",
        "=cmd|' /C calc'!A0",
        " =1",
        "\t=1",
        "\r=1",
        "\n+1",
        "\tx",
        "＝1+1",
    ],
)
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(text: str) -> None:
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize("value", [-0.12, 0.12, 0, -3, 1e-9, None, float("inf")])
def test_numbers_stay_numbers(value: float | None) -> None:
    assert csv_cell(value) is value
    written = io.StringIO()
    csv.writer(written).writerow([csv_cell(value)])
    assert written.getvalue().strip().strip('"') == ("" if value is None else str(value))


@pytest.mark.parametrize("text", ["-1", "+1", "-0.5", "+.5", "-1.", "-1e-3", "0", "12"])
def test_a_text_that_is_a_number_computes_nothing_and_stays(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.parametrize("text", ["student.width=16", "distillation=dkd temperature=4", "", "käfer", "a-b", "3 runs"])
def test_honest_texts_stay_as_they_are(text: str) -> None:
    assert csv_cell(text) == text
    assert markdown_text(text) == text


@steady
@given(ANY_TEXT)
def test_no_cell_of_a_csv_file_is_a_formula_or_has_several_lines(text: str) -> None:
    cell = csv_cell(text)
    assert NUMBER.fullmatch(cell) or not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert "\n" not in cell
    assert "\r" not in cell


@steady
@given(ANY_TEXT)
def test_no_cell_of_markdown_ends_early_or_opens_markup(text: str) -> None:
    cell = markdown_text(text)
    assert "\n" not in cell
    plain = cell.replace("\\\\", "")
    for sign in "|`<[":
        assert plain.count(sign) == plain.count(f"\\{sign}") == text.count(sign)


MARKUP = {
    "*a*": r"\*a\*",
    "__a__ _b_ c_": r"\_\_a\_\_ \_b\_ c\_",
    "a_b_c.png: student_last, 1_000": "a_b_c.png: student_last, 1_000",
    "é_ü": "é_ü",
    "~~a~~ $a$ @team a@b.c": r"\~\~a\~\~ \$a\$ \@team a\@b.c",
    "#1 (#2) C#": r"\#1 (\#2) C#",
    "see https://a.b and www.c.d, Www.e": r"see https:\//a.b and www\.c.d, Www\.e",
    "a://b ftp:x wwww.": r"a:\//b ftp:x wwww.",
    "> a > b": r"\> a > b",
    "- a - b": r"\- a - b",
    "+": r"\+",
    "-8.07 ± 3": "-8.07 ± 3",
    "&lt;b&gt; a&b; R&D &#60;": r"\&lt;b\&gt; a\&b; R&D \&\#60;",
    "![a](b)": r"!\[a](b)",
}


@pytest.mark.parametrize("text", MARKUP)
def test_nothing_is_markup(text: str) -> None:
    assert markdown_text(text) == MARKUP[text]


MARKUP_LETTERS = st.text("ab1 _*~`[]()<>!&;#@$:/\\\\|.-+=w", max_size=24)


@steady
@given(MARKUP_LETTERS)
def test_a_parser_of_markdown_finds_text_alone(text: str) -> None:
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable(["table", "strikethrough"])
    _, inline, _ = parser.parse(f"x {markdown_text(text)}")
    assert {token.type for token in inline.children} <= {"text", "text_special"}
    assert "".join(token.content for token in inline.children) == f"x {text}".rstrip(" ")


@pytest.mark.parametrize("text", ["```\n<script>alert(1)</script>", "````````", "a\n```yaml\n", "`"])
def test_no_line_ends_a_block_of_code(text: str) -> None:
    first, *content, last = markdown_code(text, "yaml").split("\n")
    assert first == f"{last}yaml"
    assert set(last) == {"`"}
    assert all(last not in line for line in content)
