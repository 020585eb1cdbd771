"""The settings of runs read back part by part: runs of a sweep differ in few, and what they share is parsed once.

A file as kd-runner writes it has each part, such as `dataset` or `seed`, from a line of its own on. Such a part of the
text is known again without being parsed. All other files, and those with characters that must not be shown, are for
`kd_runner.files.tolerant_json.json_of`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.files.plain_files import read_plain
from kd_runner.files.tolerant_json import is_plain, without_line_breaks

MARK = b"\x1e"  # between parts in a line: no part has it
FIRST, BETWEEN, LAST = b'{\n  "', b',\n  "', b"\n}"  # what is around parts in a file
LONGEST = 2**14  # bytes of a part that is remembered


@dataclass(frozen=True, eq=False)
class Member:
    """A part of the settings. Files that say the same have the same one, so that nobody may change it.

    Args:
        text: The part's key and value in JSON, without the first quotation mark and without line breaks.
    """

    name: str
    value: Any
    text: bytes


def members_in_file(path: Path) -> list[Member] | None:
    """The parts of the settings in a file, in their order; None where `tolerant_json.json_of` must read it."""
    try:
        content = read_plain(path).strip(b" \t\r\n")
    except OSError:
        return None
    if not (content.startswith(FIRST) and content.endswith(LAST) and is_plain(content)):
        return None
    return _members(content[len(FIRST) : -len(LAST)].split(BETWEEN))


def line_of(members: Iterable[Member]) -> bytes:
    """The parts as one line of text, which `members_in_line` reads."""
    return MARK.join(member.text for member in members)


def members_in_line(line: bytes) -> list[Member] | None:
    """The parts in a line of `line_of`; None in any other."""
    return _members(line.split(MARK))


def _members(texts: Iterable[bytes]) -> list[Member] | None:
    """The parts by their texts, the last of those with the same name, as JSON has it; None where a text is no part."""
    try:
        members = [(_remembered_member if len(text) < LONGEST else _member)(text) for text in texts]
    except (ValueError, RecursionError):
        return None
    return list({member.name: member for member in members}.values())


def _member(text: bytes) -> Member:
    """The part with this text.

    Raises:
        ValueError: the text is not the one part of an object, so that what it was cut from is another object.
    """
    ((name, value),) = json.loads(b'{"' + text + b"}").items()
    line = without_line_breaks(text)
    if not line:
        raise ValueError("it cannot be one line")
    return Member(name, value, line)


_remembered_member = functools.lru_cache(maxsize=2**14)(_member)
