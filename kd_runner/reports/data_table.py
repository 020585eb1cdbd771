"""The counts of a run's data set for its page: how many images and classes there are, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kd_runner.datasets.inspection import survey
from kd_runner.datasets.inspection.survey import SPLITS
from kd_runner.formats import UNKNOWN, count, cut_end, percent

MOST_NAMES = 10  # names of classes, suffixes or folders in a line
LONGEST_NAME, SHORT_NAME = 40, 16  # letters of a name, in a line and in a cell


def data_table(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Headings, and rows of a name and a text for each split; None for a result without counts.

    Args:
        data: The section `data` of result.json.
    """
    splits = [split for split in SPLITS if data.get(split) is not None]
    if not splits:
        return None
    missing, duplicates = data.get("missing_classes") or {}, data.get("duplicates") or {}
    classes, largest = data.get("classes"), data.get("largest_class") or {}
    rows = [("images", [count(data[split]) for split in splits])]
    things, most = "classes", "largest class"
    if data.get("labels_per_image") is not None:
        things, most = "labels", "label that most images have"
    if classes is not None:
        rows.append((f"{things} with images", [_classes_with_images(classes, missing.get(split)) for split in splits]))
    if largest:
        rows.append((most, [_largest(largest.get(split)) for split in splits]))
    if duplicates:
        rows += [
            (
                f"also among the {SPLITS[earlier_split]} images",
                [count(duplicates.get(f"{earlier_split}_{split}"), "") for split in splits],
            )
            for earlier_split in ("train", "val")
        ]
    rows = [(name, texts) for name, texts in rows if any(texts)]
    return {"headings": [SPLITS[split] for split in splits], "rows": rows}


def data_lines(data: Mapping[str, Any]) -> list[str]:
    """Sentences about the parts of `data` that are not in the table."""
    sentences = []
    if data.get("folds"):
        sentences.append(f"The test is fold {data.get('fold')} of {data['folds']}, from 0 (cross-validation).")
    sentences += [
        f"Without {SPLITS[split]} images: {survey.list_of_names([_cut(name) for name in names], MOST_NAMES)}."
        for split, names in (data.get("missing_classes") or {}).items()
        if names and split in SPLITS
    ]
    left_out = {name: value for name, value in (data.get("left_out") or {}).items() if value}
    if left_out.get("files"):
        kinds, folders = (left_out.get(name) or {} for name in ("kinds", "places"))
        of = f": {names_with_counts(kinds, 'no suffix')}" if kinds else ""
        where = f"; in {names_with_counts(folders)}" if folders else ""
        files = left_out["files"]
        sentences.append(f"Not read, {survey.count(files, 'file')}{of}{where}.")
    if left_out.get("unreadable"):
        unreadable = left_out["unreadable"]
        sentences.append(f"Left out, as they cannot be read: {survey.count(unreadable, 'image')}.")
    if left_out.get("hidden"):
        sentences.append(f"Hidden files and folders, not counted above: {left_out['hidden']:,}.")
    twice = (data.get("duplicates") or {}).get("two_classes")
    if twice:
        sentences.append(f"The same picture under two classes or more: {survey.count(twice, 'image')}.")
    return sentences


def names_with_counts(counts: Mapping[str, int], nameless: str = "") -> str:
    """The names with the largest counts, each with its count, such as 'train (12), . (3) and 4 more'."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    names = [f"{_cut(name or nameless)} ({count(number)})" for name, number in ordered]
    return survey.list_of_names(names, MOST_NAMES)


def _cut(name: str) -> str:
    return cut_end(name, LONGEST_NAME)


def _classes_with_images(classes: int, missing: Iterable[str] | None) -> str:
    without = len(list(missing or []))
    return f"{classes - without:,} of {classes:,}" if without else f"{classes:,}"


def _largest(largest: Mapping[str, Any] | None) -> str:
    if largest is None:
        return UNKNOWN
    return f"{cut_end(largest['class'], SHORT_NAME)}, {percent(largest['share'], 1)}"
