"""Images that a table names: a manifest, in CSV or Parquet, with a row for each image.

Its columns are `path` and `label`, and where it has them `split`, `weight` and `group`; settings of the same names say
what they are called in the file. Images are read as those of `image_folder` are. An image with an empty label has none.
Splits that the manifest does not name are cut from the training images as those of a folder are; no cut separates a
group. Labels are classes in the order of their names, or of their numbers where all of them are whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kd_runner.datasets.class_folders import note_similar_names
from kd_runner.datasets.conversions import note_conversions
from kd_runner.datasets.decoding import MAX_PIXELS
from kd_runner.datasets.files import ImageFiles, PixelSettings
from kd_runner.datasets.held_out_groups import without_held_out_groups
from kd_runner.datasets.image_folder import cut_in_words, cut_off, load, settings_without_effect
from kd_runner.datasets.manifest_paths import NamedFiles, named_files, similar_file
from kd_runner.datasets.manifest_rows import COLUMNS, GROUP, SPLIT, WEIGHT, Row, each_once, refuse_split_groups, rows_of
from kd_runner.datasets.manifest_table import read_table
from kd_runner.datasets.pixels import Color, parse_background
from kd_runner.datasets.splits import Images, Split, Splits
from kd_runner.datasets.survey import SPLITS, LeftOut, Survey, count, list_of_names
from kd_runner.datasets.tree import printable
from kd_runner.datasets.unlabelled import UNLABELLED
from kd_runner.datasets.unreadable import NOT_READ, SHOWN, leave_out_unreadable, reason_of, unreadable_indices
from kd_runner.notes import note

WITHOUT_LABELS = "unlabelled"  # the part of the images without labels, beside the splits


def manifest(
    root: str,
    seed: int,
    image_root: str | None = None,
    may_lead_to: Sequence[str] = (),
    path: str = "path",
    label: str = "label",
    split: str | None = "split",
    weight: str | None = "weight",
    group: str | None = "group",
    on_empty_label: Literal["unlabelled", "skip", "error"] = "unlabelled",
    image_size: int = 32,
    color: Color = "rgb",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    on_bad_image: Literal["error", "skip"] = "error",
    cache: str | None = None,
    residency: Literal["auto", "device", "host", "stream"] = "auto",
    background: str | int = "white",
    max_pixels: int = MAX_PIXELS,
    white: float | None = None,
    resize_size: int | None = None,
) -> Splits:
    """The images that the manifest `root` names: decoded once and kept in memory, or read from files while training.

    Args:
        root: The file of the manifest: .csv, .tsv, .parquet; `~` is expanded.
        image_root: The folder that paths start from, and stay in; None: the folder of the manifest.
        may_lead_to: Further folders to which paths and links may lead.
        path, label, split, weight, group: The columns' names in the file; None for one that is not to be read.
        on_empty_label: `unlabelled` gives images without a label to the student, for its teacher alone to teach it on;
            `skip` leaves them out and counts them; `error` ends the run.
        val_fraction, test_fraction: Shares that are cut where the manifest has no such split.
        image_size, color, on_bad_image, cache, residency, background, max_pixels, white, resize_size: As in
            `image_folder`.

    Raises:
        FileNotFoundError: no such manifest.
        ValueError: a manifest that cannot be read or contradicts itself, a path that leads out of its folder, or an
            image that is not there or cannot be read.
    """
    pixels = PixelSettings(image_size, color, parse_background(background), max_pixels, white, resize_size=resize_size)
    cache_folder = Path(cache).expanduser() if cache else None
    file = Path(root).expanduser()
    table = read_table(file)
    rows = rows_of(table, dict(zip(COLUMNS, (path, label, split, weight, group), strict=True)))
    folder = Path(image_root).expanduser() if image_root else file.parent
    if not folder.is_dir():
        raise ValueError(f"image_root must be a folder, or null for that of the manifest, got {folder}")
    allowed = [Path(name).expanduser() for name in may_lead_to]
    places = [row.place for row in rows.rows]
    named = named_files([row.path for row in rows.rows], places.__getitem__, folder, allowed)
    if named.backslashes:
        note("data", f"{count(named.backslashes, 'path')} of {file}: backslashes are read as slashes")
    kept = _kept_rows(rows.rows, named, on_empty_label, file)
    kept, missing = _less_missing(kept, rows.rows, named, folder, file, on_bad_image == "skip")
    files, classes = _parts(kept, rows.rows, named, folder, pixels)
    _check_classes({name: part for name, part in files.items() if name in SPLITS}, classes, file)
    total = sum(map(len, files.values())) + len(missing.unreadable)
    files, left_out = _readable(files, classes, missing, cache_folder, on_bad_image == "skip")
    _note_unreadable(left_out, total, file)

    loaded, conversions = load({name: _numbered(part) for name, part in files.items()}, residency, cache_folder)
    note_conversions(conversions, sum(map(len, files.values())), pixels.ground, white)
    parts = {name: _labelled(loaded[name], part) for name, part in files.items()}
    unlabelled = parts.pop(WITHOUT_LABELS, None)
    if isinstance(unlabelled, ImageFiles) and on_bad_image == "error":
        _refuse_unreadable(files[WITHOUT_LABELS], cache_folder)
    files.pop(WITHOUT_LABELS, None)
    cuts = {name: share for name, share in (("val", val_fraction), ("test", test_fraction)) if name not in files}
    split_files = cut_off(files, cuts, seed)  # the same cuts as those of the images
    sizes = {name: len(part) for name, part in split_files.items()}
    survey = Survey(folder, left_out, split_files, [cut_in_words(name, share, sizes) for name, share in cuts.items()])
    unused = settings_without_effect(files, conversions) | _columns_without_effect(rows.rows, rows.columns)
    result = Splits(
        **cut_off(parts, cuts, seed),
        classes=[printable(name) for name in classes],
        survey=survey,
        unused=unused,
        pixels=pixels,
        unlabelled=unlabelled,
    )
    return without_held_out_groups(result)


def _kept_rows(rows: Sequence[Row], named: NamedFiles, on_empty_label: str, file: Path) -> list[int]:
    """The positions of the rows that are read: each image once, with a label where it must have one."""
    kept = each_once(rows, named.paths)
    refuse_split_groups(rows)
    without = [position for position in kept if not rows[position].label]
    if not without:
        return kept
    shown = list_of_names([f"{printable(rows[position].path)} ({rows[position].place})" for position in without], 3)
    if len(without) == len(kept):
        raise ValueError(f"label must be given for some images, {file} has none")
    if on_empty_label == "error":
        raise ValueError(f"label must be given for each image (dataset.on_empty_label), there is none for {shown}")
    if on_empty_label == "unlabelled":
        return kept
    verb = "is" if len(without) == 1 else "are"
    note(
        "data",
        f"{count(len(without), 'image')} of {file} without a label {verb} left out (dataset.on_empty_label): {shown}",
    )
    return [position for position in kept if rows[position].label]


def _less_missing(
    kept: Sequence[int], rows: Sequence[Row], named: NamedFiles, folder: Path, file: Path, skip: bool
) -> tuple[list[int], LeftOut]:
    """The rows whose files are there, and the others' paths and reasons.

    Raises:
        ValueError: a file is missing where none may be left out, or all are.
    """
    missing = [position for position in kept if position in named.missing]
    if missing and (not skip or len(missing) == len(kept)):
        shown = [f"{printable(named.paths[position])} ({rows[position].place})" for position in missing]
        raise ValueError(
            f"path must lead to an image, but {len(missing):,} of {len(kept):,} lead to none from {folder}: "
            f"{list_of_names(shown, 3)}: {named.missing[missing[0]]}{similar_file(folder, named.paths[missing[0]])}"
            + _remedy(len(missing) == len(kept))
        )
    left_out = LeftOut(
        unreadable=[named.paths[position] for position in missing],
        reasons=[named.missing[position] for position in missing[:SHOWN]],
    )
    return [position for position in kept if position not in named.missing], left_out


def _remedy(all_missing: bool) -> str:
    if all_missing:
        return "; dataset.image_root=FOLDER names another folder that they start from"
    return "; dataset.on_bad_image=skip leaves them out"


def _parts(
    kept: Sequence[int], rows: Sequence[Row], named: NamedFiles, folder: Path, pixels: PixelSettings
) -> tuple[dict[str, ImageFiles], list[str]]:
    """The image files of each split and those without labels, and the names of the classes."""
    positions: dict[str, list[int]] = {}
    for position in kept:
        row = rows[position]
        positions.setdefault((row.split or "train") if row.label else WITHOUT_LABELS, []).append(position)
    if "train" not in positions:
        raise ValueError(f"split must be train for some images, it is {' and '.join(sorted(positions))} alone")
    if not any(rows[position].weight for position in positions["train"]):
        raise ValueError("weight must be above 0 for some training images, it is 0 for all")
    classes = ordered_classes({rows[position].label for position in positions["train"]})
    numbers = {name: number for number, name in enumerate(classes)}
    weights = torch.tensor([row.weight for row in rows])
    groups = _group_numbers(rows)
    is_weighted = len({row.weight for row in rows if row.label}) > 1
    parts: dict[str, ImageFiles] = {}
    for name in (*SPLITS, WITHOUT_LABELS):
        if name not in positions:
            continue
        chosen = positions[name]
        unknown = [position for position in chosen if name in SPLITS and rows[position].label not in numbers]
        if unknown:
            _refuse_unknown_classes([rows[position] for position in unknown], classes)
        labels = [numbers[rows[position].label] if name in SPLITS else UNLABELLED for position in chosen]
        parts[name] = ImageFiles(
            folder,
            [named.paths[position] for position in chosen],
            torch.tensor(labels),
            pixels,
            weights[chosen] if is_weighted and name in SPLITS else None,
            None if groups is None else groups[chosen],
        )
        parts[name].__dict__["stamps"] = named.stamps[chosen]  # each file is asked for once
    return parts, classes


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


def _refuse_unknown_classes(rows: Sequence[Row], classes: Sequence[str]) -> None:
    shown = [f"{printable(row.label)} ({row.split}, {row.place})" for row in rows]
    raise ValueError(
        f"label must be one that training images have ({list_of_names(map(printable, classes))}), "
        f"got {list_of_names(shown, 3)}"
    )


def _check_classes(files: Mapping[str, ImageFiles], classes: Sequence[str], file: Path) -> None:
    """Refuse one class alone, and note names that a person may mean as one.

    Raises:
        ValueError: one class.
    """
    if len(classes) < 2:
        raise ValueError(f"label must have at least two values, {file} has {printable(classes[0])} alone")
    note_similar_names(classes, "labels")


def _numbered(part: ImageFiles) -> ImageFiles:
    """The files of a part, their positions as labels: so no cache depends on what the manifest says of them."""
    numbered = replace(part, labels=torch.arange(len(part)), weights=None, groups=None)
    numbered.__dict__["stamps"] = part.stamps
    return numbered


def _labelled(images: Images, part: ImageFiles) -> Split | ImageFiles:
    """Images whose labels are positions in `part`, with the labels, weights and groups that they have there."""
    assert isinstance(images, (Split, ImageFiles))
    positions = images.labels
    taken = part if len(positions) == len(part) else part.subset(positions)
    labelled = replace(images, labels=taken.labels, weights=taken.weights, groups=taken.groups)
    if isinstance(images, ImageFiles):
        labelled.__dict__["stamps"] = images.stamps
    return labelled


def _readable(
    files: Mapping[str, ImageFiles], classes: Sequence[str], missing: LeftOut, cache: Path | None, skip: bool
) -> tuple[dict[str, ImageFiles], LeftOut]:
    """The files that can be read, and what is left out; without `skip`, all of them.

    Raises:
        ValueError: a class of which no training image can be read, or a split without any.
    """
    if not skip:
        return dict(files), missing
    readable, broken = leave_out_unreadable(
        {name: _numbered(part) for name, part in files.items()}, files["train"].folder, cache
    )
    result: dict[str, ImageFiles] = {}
    for name, part in files.items():
        images = _labelled(readable[name], part)
        assert isinstance(images, ImageFiles)
        if len(images):
            result[name] = images
        elif name in SPLITS:
            raise ValueError(f"split must have an image that can be read, {name} has none: {reason_of(part, 0)}")
    counts = torch.bincount(result["train"].labels, minlength=len(classes))
    if not bool(counts.all()):
        name = printable(classes[int(counts.argmin())])
        raise ValueError(f"label must have a training image that can be read, {name} has none")
    unreadable = LeftOut(
        unreadable=[*missing.unreadable, *broken.paths], reasons=[*missing.reasons, *broken.reasons][:SHOWN]
    )
    return result, unreadable


def _refuse_unreadable(files: ImageFiles, cache: Path | None) -> None:
    """Raise ValueError for a file that cannot be read: without a label, it would end the run after its teacher."""
    for index in unreadable_indices(_numbered(files), cache):
        files[index]  # which raises


def _note_unreadable(left_out: LeftOut, images: int, file: Path) -> None:
    if left_out.unreadable:
        names = list_of_names(map(printable, left_out.unreadable), SHOWN)
        note("data", f"{len(left_out.unreadable):,} of {images:,} images of {file} {NOT_READ}: {names}")


def _columns_without_effect(rows: Sequence[Row], columns: frozenset[str]) -> dict[str, str]:
    """The columns that change nothing, and why."""
    unused = {}
    train = [row for row in rows if row.label and row.split in ("", "train")]
    if WEIGHT in columns and len({row.weight for row in train}) == 1:
        unused["weight"] = "all training images have the same weight"
    if GROUP in columns and _group_numbers(rows) is None:
        unused["group"] = "no group has two images"
    if SPLIT not in columns:
        unused["split"] = "the manifest has no such column"
    unused |= {name: "the manifest has no such column" for name in (WEIGHT, GROUP) if name not in columns}
    return unused
