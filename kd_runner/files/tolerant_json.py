"""Files of runs read back, whoever wrote them: what is not as kd-runner writes it is left out, and named.

A report is made of folders that were copied, cut short by a full disk, edited by hand or written by another version. A
part that is missing there or of another kind must neither end the report nor become a number that looks right.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kd_runner.files.plain_files import read_plain

SHOWN = 8  # keys that are named where more are left out
UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # control characters, and half letters of UTF-16
# JSON of these bytes alone has no such characters, and needs no look at each of its texts.
PLAIN = bytes({*b"\t\n", *range(32, 127)} - {*b"\\"})


def json_of(path: Path) -> tuple[dict[str, Any], str]:
    """The JSON object at `path`, and what is wrong with the file, empty where it is one; the object is then empty."""
    content, wrong, _ = json_and_text_of(path)
    return content, wrong


def json_and_text_of(path: Path) -> tuple[dict[str, Any], str, bytes]:
    """The pair of `json_of`, and the text of the file: empty where the object is not what it says to the letter."""
    try:
        raw = read_plain(path)
        content = json.loads(raw)
        if not isinstance(content, dict):
            return {}, f"holds {kind_of(content)} in place of an object", b""
        return (content, "", raw) if is_plain(raw) else (readable(content), "", b"")
    except FileNotFoundError:
        return {}, "is not there", b""
    except OSError as error:
        return {}, f"cannot be read ({error.strerror})", b""
    except (ValueError, RecursionError):
        return {}, "cannot be read", b""


def is_plain(text: bytes) -> bool:
    """True for JSON in which all characters can be shown, which is seen without a look at each of its texts."""
    return not text.translate(None, PLAIN)


def without_line_breaks(text: bytes) -> bytes:
    """Plain JSON without its line breaks, and empty where it has tabs: a line break in JSON is never part of a text."""
    line = b"".join(map(bytes.lstrip, text.split(b"\n")))
    return b"" if b"\t" in line else line


def kind_of(content: Any) -> str:
    """The name of the kind of a value of JSON."""
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(content), "null")


def readable(content: Any) -> Any:
    """The content with a sign of its own in place of characters that neither pages nor terminals can show."""
    if isinstance(content, str):
        return UNREADABLE.sub("\ufffd", content)
    if isinstance(content, Mapping):
        return {readable(key): readable(value) for key, value in content.items()}
    return [readable(value) for value in content] if isinstance(content, list) else content


def remove_misshapen(content: dict[str, Any], shape: TypeAdapter[Any]) -> tuple[dict[str, Any], list[str]]:
    """The content less what is not of the shape, and the keys, with dots, of what is gone; `content` is changed."""
    gone: set[str] = set()
    while True:
        try:
            shape.validate_python(content)
            break
        except ValidationError as error:
            keys = {_without(content, problem["loc"], problem["type"] == "missing") for problem in error.errors()}
            if keys == {""}:  # nothing could be taken out, so that the same would be found again
                return {}, ["all of it"]
            gone |= keys - {""}
    return content, sorted(key for key in gone if not any(key.startswith(f"{above}.") for above in gone))


def _without(content: dict[str, Any], steps: tuple[int | str, ...], lacking: bool) -> str:
    """Take the innermost key of an object on the way to a part out of the content; returns it, empty for none.

    Args:
        steps: The keys and indices that lead to the part.
        lacking: The part is missing, so that what lacks it goes.
    """
    at: Any = content
    holder, last, path = content, "", ""
    for depth, step in enumerate(steps[:-1] if lacking else steps, 1):
        if isinstance(at, dict):
            if step not in at:  # an earlier problem took it
                return ""
            holder, last, path = at, str(step), ".".join(map(str, steps[:depth]))
        elif not (isinstance(at, list) and isinstance(step, int) and step < len(at)):
            break
        at = at[step]
    if path:
        del holder[last]
    return path


def left_out(name: str, keys: Iterable[str]) -> str:
    """One line that says which parts of a file are not shown; empty where there are none."""
    keys = list(keys)
    if not keys:
        return ""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{name}: left out, as kd-runner does not write it so: {', '.join(keys[:SHOWN])}{more}"


def texts(value: Any) -> list[str]:
    """The list of texts that `value` is; empty where it is anything else."""
    return value if isinstance(value, list) and all(isinstance(text, str) for text in value) else []


def number(value: Any, default: float = 0.0) -> float:
    """The finite number that `value` is, or else the default."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e18
    return float(value) if usable and math.isfinite(value) else default


def usable_number(value: Any) -> float | None:
    """The number that `value` is; None for anything else, and for numbers that no result has."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) < 1e30 else None
