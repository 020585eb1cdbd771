"""The images of a manifest before they are read: their splits, classes, weights and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.folders.class_folders import note_similar_names
from kd_runner.datasets.folders.tree import decoded_name, name_in_list
from kd_runner.datasets.inspection.survey import SPLITS, LeftOut, count, list_of_names
from kd_runner.datasets.inspection.unreadable import SHOWN
from kd_runner.datasets.labels.multi_label import label_matrix
from kd_runner.datasets.labels.unlabelled import UNLABELLED
from kd_runner.datasets.tables.label_cells import note_without_labels
from kd_runner.datasets.tables.named_files import NamedFiles, named_files, similar_file
from kd_runner.datasets.tables.rows import (
    GROUP,
    LABEL,
    LABELS,
    SPLIT,
    WEIGHT,
    Row,
    Rows,
    each_once,
    refuse_split_groups,
)
from kd_runner.datasets.tables.written_labels import note_missing_words
from kd_runner.notes import note

WITHOUT_LABELS = "unlabelled"  # the part of the images without labels, beside the splits


@dataclass(frozen=True)
class NamedParts:
    """The image files that a manifest names.

    Args:
        files: The files of each split that it has, and of WITHOUT_LABELS where there are some.
        classes: The name of each label.
        missing: The files that are not there, which are left out.
    """

    files: Mapping[str, ImageFiles]
    classes: Sequence[str]
    missing: LeftOut


def parts_of(
    rows: Sequence[Row],
    file: Path,
    folder: Path,
    allowed: Sequence[Path],
    on_empty_label: str,
    skip_missing: bool,
    pixels: PixelSettings,
) -> NamedParts:
    """The image files that the rows of the manifest `file` name.

    Args:
        folder: The folder that paths start from.
        allowed: Further folders to which they may lead.
        on_empty_label: `unlabelled`, `skip` or `error`.
        skip_missing: True to leave out files that are not there.

    Raises:
        ValueError: rows that contradict each other, a path that leads out, a missing file or label, or one class.
    """
    row_names = [row.line for row in rows]
    named = named_files([row.path for row in rows], row_names.__getitem__, folder, allowed)
    if named.backslashes:
        note("data", f"{count(named.backslashes, 'path')} of {file}: backslashes are read as slashes")
    positions = _kept_rows(rows, named, on_empty_label, file)
    positions, missing = _less_missing(positions, rows, named, folder, skip_missing)
    files, classes = _files(positions, rows, named, folder, pixels)
    column, things = (LABEL, "values") if rows[0].labels is None else (LABELS, "names")
    if len(classes) < 2:
        alone = f"{name_in_list(classes[0])} alone" if classes else "none"
        raise ValueError(f"{column} must have at least two {things} among the training images, {file} has {alone}")
    note_similar_names(classes, "labels")
    _note_missing_words([rows[position] for position in positions])
    if column == LABELS:
        note_without_labels([rows[position].names for position in positions], file)
    return NamedParts(files, classes, missing)


def _note_missing_words(rows: Sequence[Row]) -> None:
    """Note labels and groups that may mean that an image has none, such as nan."""
    rule = "of the class" if rows[0].labels is None else "labelled"
    names = [name for row in rows if row.is_labelled for name in row.names]
    note_missing_words(names, rule, "where that means no label, leave the cell empty")
    groups = [row.group for row in rows]
    note_missing_words(groups, "of the group", "where that means no group, leave the cell empty")


def _kept_rows(rows: Sequence[Row], named: NamedFiles, on_empty_label: str, file: Path) -> list[int]:
    """The positions of the rows that are read: each image once, with a label where it must have one."""
    positions = each_once(rows, named.paths)
    refuse_split_groups(rows)
    without = [position for position in positions if not rows[position].is_labelled]
    if not without:
        return positions
    shown = list_of_names([f"{decoded_name(rows[position].path)} ({rows[position].line})" for position in without], 3)
    if len(without) == len(positions):
        raise ValueError(f"label must be given for some images, {file} has none")
    if on_empty_label == "error":
        raise ValueError(f"label must be given for each image (dataset.on_empty_label), there is none for {shown}")
    if on_empty_label == "unlabelled":
        return positions
    verb = "is" if len(without) == 1 else "are"
    note(
        "data",
        f"{count(len(without), 'image')} of {file} without a label {verb} left out (dataset.on_empty_label): {shown}",
    )
    return [position for position in positions if rows[position].is_labelled]


def _less_missing(
    positions: Sequence[int], rows: Sequence[Row], named: NamedFiles, folder: Path, skip: bool
) -> tuple[list[int], LeftOut]:
    """The rows whose files are there, and the others' paths and reasons.

    Raises:
        ValueError: a file is missing where none may be left out, or all are.
    """
    missing = [position for position in positions if position in named.missing]
    if missing and (not skip or len(missing) == len(positions)):
        shown = [f"{decoded_name(named.paths[position])} ({rows[position].line})" for position in missing]
        raise ValueError(
            f"path must lead to an image, but {len(missing):,} of {len(positions):,} lead to none from {folder}: "
            f"{list_of_names(shown, 3)}: {named.missing[missing[0]]}{similar_file(folder, named.paths[missing[0]])}"
            + _remedy(len(missing) == len(positions))
        )
    left_out = LeftOut(
        unreadable=[named.paths[position] for position in missing],
        reasons=[named.missing[position] for position in missing[:SHOWN]],
    )
    return [position for position in positions if position not in named.missing], left_out


def _remedy(all_missing: bool) -> str:
    if all_missing:
        return "; dataset.image_root=FOLDER names another folder that they start from"
    return "; dataset.on_bad_image=skip leaves them out"


def _files(
    read_rows: Sequence[int], rows: Sequence[Row], named: NamedFiles, folder: Path, pixels: PixelSettings
) -> tuple[dict[str, ImageFiles], list[str]]:
    """The image files of each split and those without labels, and the names of the classes."""
    positions = _positions(read_rows, rows)
    classes = ordered_classes({name for position in positions["train"] for name in rows[position].names})
    numbers = {name: number for number, name in enumerate(classes)}
    labelled = [rows[position] for position in read_rows if rows[position].is_labelled]
    unknown = [(row, name) for row in labelled for name in row.names if name not in numbers]
    if unknown:
        _refuse_unknown_classes(unknown, classes)
    weights = torch.tensor([row.weight for row in rows])
    groups = _group_numbers(rows)
    is_weighted = len({row.weight for row in rows if row.is_labelled}) > 1
    parts: dict[str, ImageFiles] = {}
    for name, chosen in positions.items():
        parts[name] = ImageFiles(
            folder,
            [named.paths[position] for position in chosen],
            _labels([rows[position] for position in chosen], classes),
            pixels,
            weights[chosen] if is_weighted and name in SPLITS else None,
            None if groups is None else groups[chosen],
        )
        parts[name].__dict__["stamps"] = named.stamps[chosen]  # each file is asked for once
    return parts, classes


def _positions(read_rows: Sequence[int], rows: Sequence[Row]) -> dict[str, list[int]]:
    """The positions of the rows of each split, and of those without labels.

    Raises:
        ValueError: there is no training image, or none that counts.
    """
    positions: dict[str, list[int]] = {}
    for position in read_rows:
        row = rows[position]
        positions.setdefault((row.split or "train") if row.is_labelled else WITHOUT_LABELS, []).append(position)
    if "train" not in positions:
        raise ValueError(f"split must be train for some images, it is {' and '.join(sorted(positions))} alone")
    if not any(rows[position].weight for position in positions["train"]):
        raise ValueError("weight must be above 0 for some training images, it is 0 for all")
    return {name: positions[name] for name in (*SPLITS, WITHOUT_LABELS) if name in positions}


def _labels(rows: Sequence[Row], classes: Sequence[str]) -> Tensor:
    """The labels of images, int64 [N]: UNLABELLED for one without; uint8 [N, K] where they may have several."""
    if rows[0].labels is not None:
        return label_matrix([row.names for row in rows], classes)[0]
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([numbers[row.label] if row.is_labelled else UNLABELLED for row in rows])


def ordered_classes(labels: set[str]) -> list[str]:
    """The names of the classes in the order of their labels: by number where all are whole numbers, else as text."""
    if all(name.isascii() and name.removeprefix("-").isdigit() for name in labels):
        return sorted(labels, key=lambda name: (int(name), name))
    return sorted(labels)


def _group_numbers(rows: Sequence[Row]) -> Tensor | None:
    """The number of each row's group; an image in none is one by itself. None where no group has two images."""
    numbers: dict[str, int] = {}
    values = [
        numbers.setdefault(f"={row.group}" if row.group else f"#{position}", len(numbers))
        for position, row in enumerate(rows)
    ]
    return torch.tensor(values) if len(numbers) < len(rows) else None


def _refuse_unknown_classes(unknown: Sequence[tuple[Row, str]], classes: Sequence[str]) -> None:
    shown = [f"{name_in_list(name)} ({row.split}, {row.line})" for row, name in unknown]
    must = "label must be one" if unknown[0][0].labels is None else "labels must be among those"
    raise ValueError(
        f"{must} that training images have ({list_of_names(map(name_in_list, classes))}), got {list_of_names(shown, 3)}"
    )


def columns_without_effect(table: Rows) -> dict[str, str]:
    """The columns that change nothing, and why."""
    rows, columns, unused = table.rows, table.columns, {}
    train = [row for row in rows if row.is_labelled and row.split in ("", "train")]
    if WEIGHT in columns and len({row.weight for row in train}) == 1:
        unused["weight"] = "all training images have the same weight"
    if GROUP in columns and _group_numbers(rows) is None:
        unused["group"] = "no group has two images"
    if SPLIT not in columns:
        unused["split"] = "the table has no such column"
    unused |= {name: "the table has no such column" for name in (WEIGHT, GROUP, LABEL, LABELS) if name not in columns}
    if table.several:
        unused["on_empty_label"] = "an image without a name in labels has none of them, and is learned from as such"
    return unused
