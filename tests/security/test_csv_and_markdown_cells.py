"""Cells of tables: no spreadsheet computes one, and none ends its cell, its line or its block of code."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_runner.plain_text import csv_cell, markdown_code, markdown_text

ANY_TEXT = st.text(st.characters(codec=None), max_size=30)
steady = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", " =1", "\t=1", "\r=1", "\n+1", "\tx", "＝1+1"]
)
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(text: str) -> None:
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize("value", [-0.12, 0.12, 0, -3, 1e-9, None, float("inf")])
def test_numbers_stay_numbers(value: float | None) -> None:
    assert csv_cell(value) is value
    written = io.StringIO()
    csv.writer(written).writerow([csv_cell(value)])
    assert written.getvalue().strip().strip('"') == ("" if value is None else str(value))


@pytest.mark.parametrize("text", ["student.width=16", "distillation=dkd temperature=4", "", "käfer", "a-b", "3 runs"])
def test_honest_texts_stay_as_they_are(text: str) -> None:
    assert csv_cell(text) == text
    assert markdown_text(text) == text


@steady
@given(ANY_TEXT)
def test_no_cell_of_a_csv_file_is_a_formula_or_has_several_lines(text: str) -> None:
    cell = csv_cell(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
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


@pytest.mark.parametrize("text", ["```\n<script>alert(1)</script>", "````````", "a\n```yaml\n", "`"])
def test_no_line_ends_a_block_of_code(text: str) -> None:
    first, *content, last = markdown_code(text, "yaml").split("\n")
    assert first == f"{last}yaml"
    assert set(last) == {"`"}
    assert all(last not in line for line in content)
