"""Files of runs read back: what is misshapen is left out, and named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kd_runner.files import result_schema, tolerant_json


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b'{"a": 1}', ""),
        (b"[1]", "holds a list in place of an object"),
        (b'"a"', "holds a text in place of an object"),
        (b"true", "holds true or false in place of an object"),
        (b"null", "holds null in place of an object"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_file_that_is_no_object_is_described(content: bytes, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert tolerant_json.json_of(tmp_path / "a.json") == ({} if wrong else {"a": 1}, wrong)
    assert tolerant_json.json_of(tmp_path / "b.json") == ({}, "is not there")


def test_misshapen_parts_are_taken_out_with_what_lacks_a_part() -> None:
    content: dict[str, Any] = {
        "seed": 1,
        "student": {"accuracy": 0.5, "nll": "low", "correct": {"images": 8, "bits": "AA=="}},
        "baseline": {"nll": 0.1},  # without its accuracy
        "teacher": {"accuracy": 1.5},
        "new": "of another version",
    }
    content, gone = tolerant_json.remove_misshapen(content, result_schema.RESULT)
    assert gone == ["baseline", "student.nll", "teacher.accuracy"] or gone == ["baseline", "student.nll", "teacher"]
    assert content["student"] == {"accuracy": 0.5, "correct": {"images": 8, "bits": "AA=="}}
    assert content["new"] == "of another version"
    assert "baseline" not in content


@pytest.mark.parametrize(
    "text", ["\x00", "\x1b[31m", "\x08", "\x0c", "\r", "\x7f", "\ud800", "ä\x85 b", "a\\b", "\t\n"]
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_signs_that_cannot_be_shown_are_replaced(text: str, ascii_only: bool, tmp_path: Path) -> None:
    assert tolerant_json.readable({"a\x00": ["b\x1b[31m", 1, None]}) == {"a\ufffd": ["b\ufffd[31m", 1, None]}
    content = json.dumps({f"key{text}": [f"a{text}b", 1]}, ensure_ascii=ascii_only, indent=2)
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    shown = tolerant_json.UNREADABLE.sub("\ufffd", text)
    assert tolerant_json.json_of(tmp_path / "a.json") == ({f"key{shown}": [f"a{shown}b", 1]}, "")


def test_a_line_names_some_of_the_keys_that_are_left_out() -> None:
    assert tolerant_json.left_out("result.json", []) == ""
    line = tolerant_json.left_out("result.json", [f"k{number}" for number in range(10)])
    assert line == "result.json: left out, as kd-runner does not write it so: k0, k1, k2, k3, k4, k5, k6, k7 and 2 more"


def test_texts_and_numbers_are_taken_only_where_they_are_such() -> None:
    assert tolerant_json.texts(["a"]) == ["a"]
    assert tolerant_json.texts(["a", 1]) == tolerant_json.texts("a") == tolerant_json.texts(None) == []
    assert [tolerant_json.number(value, 7) for value in (2, 2.5, True, "2", math.nan, 1e19, None)] == [
        2,
        2.5,
        7,
        7,
        7,
        7,
        7,
    ]
