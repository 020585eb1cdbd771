"""Words of other tools, and what does the same here: the first guess at what a person means by an unknown word.

The table is `foreign_words.yaml`. Imports nothing of ours, so that every module may use it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_suffix(".yaml")
UNKNOWN_VALUE = "…"
MANY_SEEDS = 12
SHARE = re.compile(r"0?\.\d+")
PLAIN = re.compile(r"[\w.,:/+-]+")  # a value that needs no quotes


@functools.cache
def table() -> Mapping[str, Any]:
    """The content of the table."""
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return content


@functools.cache
def _entries() -> Mapping[str, Mapping[str, str]]:
    """The entry of each word."""
    return {word: entry for entry in table()["settings"] for word in entry["words"]}


def answer_for(key: str, value: str = "", exact: bool = False) -> str | None:
    """The words to type here instead of a setting of another tool; None for a word that is not in the table.

    Args:
        key: The setting as it was typed, such as solver.lr or --learning-rate.
        value: The value of the setting as it was typed; empty where there is none.
        exact: True to look for the whole key alone, and not for its last part.
    """
    entry = _entries().get(_normal(key))
    if entry is None and not exact:
        entry = _entries().get(_normal(key).rpartition(".")[2])
    if entry is None:
        return None
    if "type" not in entry:
        return f"there is nothing of the kind here: {entry['say']}"
    return _words_to_type(entry["type"], _shown_value(entry, value)) + (f" ({entry['say']})" if "say" in entry else "")


def number_for(group: str, value: str) -> str | None:
    """The words to type instead of a number as an option of a group; None where nothing fits."""
    template = table()["numbers"].get(group)
    is_number = re.fullmatch(r"[+-]?\d*\.?\d+(e[+-]?\d+)?(,[\d.e+-]+)*", value) is not None
    return _words_to_type(template, _plain_value(value)) if template and is_number else None


def option_for(group: str, option: str) -> str | None:
    """The option of a group, with further settings, that has another name elsewhere; None for an unknown name.

    Args:
        group: dataset, teacher, student, distillation, temperature, optimizer, scheduler or trainer.
        option: The name as it was typed, such as KD or CosineAnnealingLR.
    """
    names = table()["options"].get(group, {})
    name = _normal(option)
    entry = names.get(name) or names.get(name.removesuffix("loss").rstrip("_"))
    return None if entry is None else str(entry).replace("{group}", group)


def format_for(name: str) -> str | None:
    """The words to type behind `kd-export` for a format that has another name elsewhere; None for an unknown name."""
    export_format, _, remark = table()["export"].get(_normal(name).replace(".", ""), "").partition("; ")
    return f"type --format {export_format}{f' ({remark})' if remark else ''}" if export_format else None


def _normal(key: str) -> str:
    return key.lstrip("+~-").lower().replace("-", "_")


def _shown_value(entry: Mapping[str, str], value: str) -> str:
    """The typed value where the answer can hold it, in place of the entry's example."""
    if "values" not in entry:
        return _plain_value(value) if PLAIN.fullmatch(value) else entry.get("example", UNKNOWN_VALUE)
    if not re.fullmatch(entry["values"], value, re.IGNORECASE):
        return entry["example"]
    return value.lower() if value.lower() in ("true", "false") else value


def _plain_value(value: str) -> str:
    return value if PLAIN.fullmatch(value) else UNKNOWN_VALUE


def _words_to_type(template: str, value: str) -> str:
    """The words to type: the template with the value in its fields."""
    if not PLAIN.fullmatch(value) and value != UNKNOWN_VALUE:
        template = re.sub(r"(?<!')\b([\w.]+=)\{value\}", r"'\1{value}'", template)
    filled = template.replace("{list}", f"[{value.strip('[]')}]").replace("{seeds}", _seeds(value))
    return "type " + filled.replace("{rest}", _missing_share(value)).replace("{value}", value)


def _seeds(value: str) -> str:
    """The seeds 0 to N - 1 for a number N, as a range where they are many; a list as it is."""
    if not value.isdecimal():
        return value.strip("[]").replace(" ", "")
    count = int(value)
    return ",".join(map(str, range(count))) if count <= MANY_SEEDS else f"'range({count})'"


def _missing_share(value: str) -> str:
    """The difference between a share and 1, as text; empty for a value that is no share."""
    return f"{1 - float(value):g}" if SHARE.fullmatch(value) else ""
