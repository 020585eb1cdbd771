"""Which settings decide a result, and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Settings of data sets and teachers that settings.json of older versions lacks, with their defaults.
ADDED = {"checkpoint_key": None, "background": "white", "max_pixels": 100_000_000, "white": None}


def decisive(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings as plain data, what can change the result: no path, nothing that only decides where or how fast.

    Settings that older versions did not write are left out at their defaults, so that a run of such a version goes on.
    """
    content = {name: value for name, value in content.items() if name not in ("tracking", "store", "resume", "trust")}
    without = {
        "dataset": ("root", "residency", "workers", "cache"),
        "teacher": ("checkpoint", "checkpoint_format"),
        "distillation": ("default_temperature",),
        "trainer": ("threads", "keep_memory", "log_every"),
    }
    for name, keys in without.items():
        content[name] = _less(content[name], keys)
    for name, like in (("teachers", "teacher"), ("plus", "distillation")):
        content[name] = {each: _less(own, without[like]) for each, own in content[name].items()}
    for section in (content["dataset"], content["teacher"], *content["teachers"].values()):
        for key, default in ADDED.items():
            if section.get(key, default) == default:
                section.pop(key, None)
    return content


def flat_keys(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf of nested data by its key with dots."""
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _less(section: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in keys}


def digest(content: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
