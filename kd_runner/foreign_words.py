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
    """What a person types here instead of a setting of another tool; None for a word that is not in the table.

    Args:
        key: The setting as it was typed, such as solver.lr or --learning-rate.
        value: Its value as it was typed; empty where there is none.
        exact: True to look for the whole key alone, and not for its last part.
    """
    entry = _entries().get(_normal(key))
    if entry is None and not exact:
        entry = _entries().get(_normal(key).rpartition(".")[2])
    if entry is None:
        return None
    if "type" not in entry:
        return f"there is nothing of the kind here: {entry['say']}"
    return _filled(entry["type"], value) + (f" ({entry['say']})" if "say" in entry else "")


def number_for(group: str, value: str) -> str | None:
    """What a person types who gave a number as an option of a group; None where nothing fits."""
    template = table()["numbers"].get(group)
    is_number = re.fullmatch(r"[+-]?\d*\.?\d+(e[+-]?\d+)?(,[\d.e+-]+)*", value) is not None
    return _filled(template, value) if template and is_number else None


def option_for(group: str, option: str) -> str | None:
    """The option of a group, with further settings, that has another name elsewhere; None for an unknown name.

    Args:
        group: dataset, teacher, student, distillation, temperature, optimizer, scheduler or trainer.
        option: The name as it was typed, such as KD or CosineAnnealingLR.
    """
    names = table()["options"].get(group, {})
    name = _normal(option)
    found = names.get(name) or names.get(name.removesuffix("loss").rstrip("_"))
    return None if found is None else str(found).replace("{group}", group)


def _normal(key: str) -> str:
    return key.lstrip("+~-").lower().replace("-", "_")


def _filled(template: str, value: str) -> str:
    return "type " + template.replace("{value}", value if PLAIN.fullmatch(value) else UNKNOWN_VALUE)
