"""Images that a table names: a manifest, in CSV or Parquet, with a row for each image.

Its columns are `path` and `label`, or `labels` for several labels of an image, and where it has them `split`, `weight`
and `group`; settings of the same names say what they are called in the file. Images are read as those of
`image_folder` are. An image with an empty `label` has none that is known; one with empty `labels` has none of them.
Splits that the manifest does not name are cut from the training images as those of a folder are; no cut separates a
group. Labels are classes in the order of their names, or of their numbers where all of them are whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from kd_runner.datasets.decoding.conversions import note_conversions
from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.pixels import Color, parse_background
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.image_folder import cut_in_words, cut_off, load, settings_without_effect
from kd_runner.datasets.inspection.survey import SPLITS, LeftOut, Survey, class_counts, list_of_names
from kd_runner.datasets.inspection.unreadable import (
    NOT_READ,
    SHOWN,
    leave_out_unreadable,
    reason_of,
    refuse_unreadable,
)
from kd_runner.datasets.splits import Images, Split, Splits, has_several_labels
from kd_runner.datasets.tables.named_parts import WITHOUT_LABELS, NamedParts, columns_without_effect, parts_of
from kd_runner.datasets.tables.rows import COLUMNS, LABEL, LABELS, rows_of
from kd_runner.datasets.tables.table_file import read_table
from kd_runner.files.home import with_home
from kd_runner.notes import note


def manifest(
    root: str,
    seed: int,
    image_root: str | None = None,
    may_lead_to: Sequence[str] = (),
    path: str = "path",
    label: str | None = "label",
    split: str | None = "split",
    weight: str | None = "weight",
    group: str | None = "group",
    labels: str | None = "labels",
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

    Images without a label are there whatever their group is. A run leaves out those whose group has validation or test
    images (`held_out_groups`): with folds, other groups have these than in the splits here.

    Args:
        root: The file of the manifest: .csv, .tsv, .parquet; `~` is expanded.
        image_root: The folder that paths start from, and stay in; None: the folder of the manifest.
        may_lead_to: Further folders to which paths and links may lead.
        path, label, split, weight, group, labels: The columns' names in the file; None for one that is not to be read.
        on_empty_label: `unlabelled` gives images without a label to the student, for its teacher alone to teach it on;
            `skip` leaves them out and counts them; `error` ends the run. It is about `label`, not `labels`.
        val_fraction, test_fraction: Shares that are cut where the manifest has no such split.
        image_size, color, on_bad_image, cache, residency, background, max_pixels, white, resize_size: The arguments of
            `image_folder` with these names.

    Raises:
        FileNotFoundError: no such manifest.
        ValueError: a manifest that cannot be read or contradicts itself, a path that leads out of its folder, or an
            image that is not there or cannot be read.
    """
    pixels = PixelSettings(image_size, color, parse_background(background), max_pixels, white, resize_size=resize_size)
    file = with_home(root)
    folder = with_home(image_root) if image_root else file.parent
    table = rows_of(read_table(file), dict(zip(COLUMNS, (path, label, split, weight, group, labels), strict=True)))
    if not folder.is_dir():
        raise ValueError(f"image_root must be a folder, or null for that of the manifest, got {folder}")
    allowed = [with_home(name) for name in may_lead_to]
    named = parts_of(table.rows, file, folder, allowed, on_empty_label, on_bad_image == "skip", pixels)
    reading = Reading(with_home(cache) if cache else None, residency, on_bad_image == "skip")
    files, left_out = _readable(named, reading.cache, reading.skip, file)
    images, unused = _read(files, reading)
    unlabelled = images.pop(WITHOUT_LABELS, None)
    labelled_files = {name: part for name, part in files.items() if name in SPLITS}
    fractions = {"val": val_fraction, "test": test_fraction}
    cuts = {name: fraction for name, fraction in fractions.items() if name not in labelled_files}
    split_files = cut_off(labelled_files, cuts, seed)  # the same cuts as those of the images
    sizes = {name: len(part) for name, part in split_files.items()}
    words = [cut_in_words(name, fraction, sizes) for name, fraction in cuts.items()]
    return Splits(
        **cut_off(images, cuts, seed),
        classes=[decoded_name(name) for name in named.classes],
        survey=Survey(folder, left_out, split_files, words),
        unused={**unused, **_cuts_without_effect(labelled_files), **columns_without_effect(table)},
        pixels=pixels,
        unlabelled=unlabelled,
    )


@dataclass(frozen=True)
class Reading:
    """The way in which image files are read.

    Args:
        cache: The folder that keeps decoded images; None for none.
        residency: The setting.
        skip: True to leave out what cannot be read.
    """

    cache: Path | None
    residency: str
    skip: bool


def _read(files: Mapping[str, ImageFiles], reading: Reading) -> tuple[dict[str, Split | ImageFiles], dict[str, str]]:
    """The images of each part, and the settings of reading that had no effect on them, with the reasons."""
    loaded, conversions = load(
        {name: _with_positions_as_labels(part) for name, part in files.items()}, reading.residency, reading.cache
    )
    pixels = files["train"].pixels
    note_conversions(conversions, sum(map(len, files.values())), pixels.ground, pixels.white)
    images = {name: _with_labels_of(loaded[name], part) for name, part in files.items()}
    if isinstance(images.get(WITHOUT_LABELS), ImageFiles) and not reading.skip:
        refuse_unreadable(_with_positions_as_labels(files[WITHOUT_LABELS]), reading.cache)
    return images, settings_without_effect(files, conversions)


def _cuts_without_effect(files: Mapping[str, ImageFiles]) -> dict[str, str]:
    """The settings of cuts that are not made, and why."""
    present = [name for name in ("val", "test") if name in files]
    unused = {f"{name}_fraction": f"the table has {name} images" for name in present}
    return {**unused, "seed": "the table has val and test images"} if len(present) == 2 else unused


def _with_positions_as_labels(part: ImageFiles) -> ImageFiles:
    """The files of a part with their positions as labels, so that no cache depends on the manifest's labels."""
    numbered = replace(part, labels=torch.arange(len(part)), weights=None, groups=None)
    numbered.__dict__["stamps"] = part.stamps
    return numbered


def _with_labels_of(images: Images, part: ImageFiles) -> Split | ImageFiles:
    """Images whose labels are positions in `part`, with the labels, weights and groups that they have there."""
    assert isinstance(images, (Split, ImageFiles))
    positions = images.labels
    taken = part if len(positions) == len(part) else part.subset(positions)
    labelled = replace(images, labels=taken.labels, weights=taken.weights, groups=taken.groups)
    if isinstance(images, ImageFiles):
        labelled.__dict__["stamps"] = images.stamps
    return labelled


def _readable(named: NamedParts, cache: Path | None, skip: bool, file: Path) -> tuple[dict[str, ImageFiles], LeftOut]:
    """The files that can be read, and what is left out; without `skip`, all of them.

    Raises:
        ValueError: a class of which no training image can be read, or a split without any.
    """
    files, missing = named.files, named.missing
    if not skip:
        return dict(files), missing
    readable, broken = leave_out_unreadable(
        {name: _with_positions_as_labels(part) for name, part in files.items()}, files["train"].folder, cache
    )
    result: dict[str, ImageFiles] = {}
    for name, part in files.items():
        images = _with_labels_of(readable[name], part)
        assert isinstance(images, ImageFiles)
        if len(images):
            result[name] = images
        elif name in SPLITS:
            raise ValueError(f"split must have an image that can be read, {name} has none: {reason_of(part, 0)}")
    counts = class_counts(result["train"].labels, len(named.classes))
    if not all(counts):
        name = decoded_name(named.classes[counts.index(0)])
        column = LABELS if has_several_labels(result["train"].labels) else LABEL
        raise ValueError(f"{column} must have a training image that can be read, {name} has none")
    left_out = LeftOut(
        unreadable=[*missing.unreadable, *broken.paths], reasons=[*missing.reasons, *broken.reasons][:SHOWN]
    )
    if left_out.unreadable:
        number, all_images = len(left_out.unreadable), sum(map(len, files.values())) + len(missing.unreadable)
        names = list_of_names(map(decoded_name, left_out.unreadable), SHOWN)
        note("data", f"{number:,} of {all_images:,} images of {file} cannot be read and are {NOT_READ}{names}")
    return result, left_out
