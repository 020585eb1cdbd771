"""The counts of a run's data set for its page: how many images and classes there are, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SPLITS = {"train": "training", "val": "validation", "test": "test"}
MOST_NAMES = 10  # of classes, kinds of files and folders
LONGEST_NAME, SHORT_NAME = 40, 16  # letters, in a line and in a cell


def data_table(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Headings, and rows of a name and a text for each split; None of a result without counts.

    Args:
        data: `data` in result.json.
    """
    splits = [split for split in SPLITS if data.get(split) is not None]
    if not splits:
        return None
    missing, duplicates = data.get("missing_classes") or {}, data.get("duplicates") or {}
    classes, largest = data.get("classes"), data.get("largest_class") or {}
    rows = [("images", [f"{data[split]:,}" for split in splits])]
    if classes is not None:
        rows.append(("classes with images", [_of(classes, missing.get(split)) for split in splits]))
    if largest:
        rows.append(("largest class", [_largest(largest.get(split)) for split in splits]))
    if duplicates:
        rows += [
            (f"also among the {SPLITS[other]} images", [_count(duplicates.get(f"{other}_{split}")) for split in splits])
            for other in ("train", "val")
        ]
    rows = [(name, texts) for name, texts in rows if any(texts)]
    return {"headings": [SPLITS[split] for split in splits], "rows": rows}


def data_lines(data: Mapping[str, Any]) -> list[str]:
    """Sentences of what no column of the table is about."""
    sentences = [
        f"Without {SPLITS[split]} images: {first_names(names)}."
        for split, names in (data.get("missing_classes") or {}).items()
        if names and split in SPLITS
    ]
    left_out = {name: value for name, value in (data.get("left_out") or {}).items() if value}
    if left_out.get("files"):
        kinds, folders = (left_out.get(name) or {} for name in ("kinds", "places"))
        of = f": {names_with_counts(kinds, 'no suffix')}" if kinds else ""
        where = f"; in {names_with_counts(folders)}" if folders else ""
        files = left_out["files"]
        sentences.append(f"Not read, {files:,} {_plural('file', files)}{of}{where}.")
    if left_out.get("unreadable"):
        unreadable = left_out["unreadable"]
        sentences.append(f"Left out, as they cannot be read: {unreadable:,} {_plural('image', unreadable)}.")
    if left_out.get("hidden"):
        sentences.append(f"Hidden files and folders, not counted above: {left_out['hidden']:,}.")
    twice = (data.get("duplicates") or {}).get("two_classes")
    if twice:
        sentences.append(f"The same picture under two classes or more: {twice:,} {_plural('image', twice)}.")
    return sentences


def names_with_counts(counts: Mapping[str, int], nameless: str = "") -> str:
    """Names with their numbers, the largest first, some of many."""
    ordered = sorted(counts.items(), key=lambda count: -count[1])
    return first_names([f"{_short(name or nameless)} ({number:,})" for name, number in ordered])


def first_names(names: Sequence[str]) -> str:
    """Names in a line, the first of many."""
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(_short(name) for name in names[:MOST_NAMES])}{more}"


def _short(name: str, longest: int = LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _plural(thing: str, number: int) -> str:
    return thing if number == 1 else f"{thing}s"


def _of(classes: int, missing: Iterable[str] | None) -> str:
    lacking = len(list(missing or []))
    return f"{classes - lacking:,} of {classes:,}" if lacking else f"{classes:,}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _largest(largest: Mapping[str, Any] | None) -> str:
    return "–" if largest is None else f"{_short(largest['class'], SHORT_NAME)}, {100 * largest['share']:.1f} %"
