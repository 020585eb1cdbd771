"""Settings read part by part are those that JSON says, or are left to the reader of any JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from kd_runner.config.members import line_of, members_in_file, members_in_line
from kd_runner.files import atomic

CONTENT: dict[str, Any] = {
    "seed": 3,
    "dataset": {"_target_": "kd_runner.datasets.digits.digits", "root": "a, b", "sizes": [1, 2.5, -1e-5], "more": {}},
    "plus": {},
    "notes": "x: {y}, [z]",
    "student": {"channels": [[4, 8], []], "teacher": None, "node": {"deep": {"deeper": [{"a": True}, {"b": False}]}}},
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.json"
    path.write_bytes(text.encode())
    return path


def content_of(path: Path) -> dict[str, Any] | None:
    members = members_in_file(path)
    return None if members is None else {member.name: member.value for member in members}


def test_the_parts_are_those_of_the_file_in_their_order(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "settings.json", CONTENT)
    content = content_of(tmp_path / "settings.json")
    assert content == CONTENT
    assert list(content) == list(CONTENT)
    members = members_in_line(line_of(members_in_file(tmp_path / "settings.json") or []))
    assert {member.name: member.value for member in members or []} == CONTENT


def test_files_that_say_the_same_have_the_same_parts(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "first", CONTENT)
    atomic.write_json(tmp_path / "second", CONTENT | {"seed": 4})
    first, second = (members_in_file(tmp_path / name) or [] for name in ("first", "second"))
    assert [one is other for one, other in zip(first, second, strict=True)] == [False, True, True, True, True]


def test_a_name_that_stands_twice_has_its_last_value_at_its_first_place(tmp_path: Path) -> None:
    text = '{\n  "a": {"x": 1},\n  "b": 2,\n  "a": {"y": 3}\n}'
    content = content_of(written(tmp_path, text))
    assert content == json.loads(text) == {"a": {"y": 3}, "b": 2}
    assert list(content) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[\n  1\n]",
        '{"a": 1}',
        '{\n  "a": 1, "b": 2\n}',  # two in a line
        '{\n  "a": 1,\n  "b": 2',  # cut
        '{\n  "a": 1,\n  "b": \n}',
        '{\n  "a": {\n  "b": 1,\n  "c": 2\n}\n}',  # parts of a part, as far to the left
        '{\n  "a": "x,\n  "b": "y"\n}',
        '{\n  "a": 1,\n  "b": 2,\n}',
        '{\n  "a": 1\n}\n}',
        '{\n  "a":\t1\n}',
        '{\n  "a": "\\u001b[31m"\n}',
        '{\n  "a": "ä"\n}',
        '{\n  "a": "\x1e"\n}',
    ],
)
def test_any_other_file_is_left_to_the_reader_of_any_json(text: str, tmp_path: Path) -> None:
    assert members_in_file(written(tmp_path, text)) is None


def test_what_is_no_file_is_left_to_it_as_well(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "settings.json", CONTENT)
    (tmp_path / "link").symlink_to(tmp_path / "settings.json")
    assert members_in_file(tmp_path / "link") is None
    assert members_in_file(tmp_path) is None
    assert members_in_file(tmp_path / "nothing") is None


@pytest.mark.slow
def test_of_a_file_with_random_faults_the_parts_are_what_json_says_or_none(tmp_path: Path) -> None:
    text, draw, read = json.dumps(CONTENT, indent=2), random.Random(0), 0
    for _ in range(1500):
        harmed = list(text)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(harmed))
            harmed[place] = draw.choice(["", harmed[place] * 2, *'{}[]",:\n 1a'])
        path = written(tmp_path, "".join(harmed))
        content = content_of(path)
        if content is not None:
            assert content == json.loads(path.read_bytes())
            read += 1
    assert 100 < read < 1400
