"""Image files that cannot be read: which they are, why, and the splits without them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_cache import cache_file, load_or_compute
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.notes import note

SKIP = "dataset.on_bad_image=skip"
SHOWN = 10  # files that are named in the note, and whose reasons are kept
NOT_READ = "left out (dataset.on_bad_image): "  # part of notes that name images, which `dataset=?` has in its own lines


@dataclass(frozen=True)
class Unreadable:
    """The image files that cannot be read.

    Args:
        paths: The files, relative to the root of the data set.
        reasons: Reasons of the first SHOWN of them.
    """

    paths: Sequence[str]
    reasons: Sequence[str]


def leave_out_unreadable(
    files: Mapping[str, ImageFiles], root: Path, cache: Path | None
) -> tuple[dict[str, ImageFiles], Unreadable]:
    """The splits without the files that cannot be read, and these files. All files are read, once for each cache."""
    readable: dict[str, ImageFiles] = {}
    paths: list[str] = []
    reasons: list[str] = []
    for split, part in files.items():
        broken = unreadable_indices(part, cache)
        is_readable = torch.ones(len(part), dtype=torch.bool)
        is_readable[broken] = False
        readable[split] = part.subset(torch.nonzero(is_readable).flatten()) if broken else part
        paths += [os.path.relpath(part.folder / part.paths[index], root) for index in broken]
        reasons += [reason_of(part, index) for index in broken[: SHOWN - len(reasons)]]
    return readable, Unreadable(paths, reasons)


def unreadable_indices(files: ImageFiles, cache: Path | None) -> list[int]:
    """Indices of the images that cannot be read. All files are read, and the result is kept in `cache`."""

    def read_all() -> list[int]:
        with ThreadPoolExecutor() as pool:
            readable = pool.map(lambda index: _is_readable(files, index), range(len(files)))
            return [index for index, fine in enumerate(readable) if not fine]

    return [int(index) for index in load_or_compute(cache_file(files, cache, "unreadable.json"), read_all)]


def _is_readable(files: ImageFiles, index: int) -> bool:
    try:
        files[index]
    except ValueError:
        return False
    return True


def reason_of(files: ImageFiles, index: int) -> str:
    """Why an image cannot be read, without its name; empty if it can be read now."""
    try:
        files[index]
    except ValueError as error:
        return decoded_name(str(error).partition(" cannot be read as an image: ")[2] or str(error))
    return ""


def way_around(error: Exception, node: Mapping[str, Any]) -> str:
    """The end of an error's sentence that names the setting which leaves such images out; empty where none does.

    Args:
        node: The settings of the data set.
    """
    may_skip = "cannot be read as an image" in str(error) and node.get("on_bad_image") == "error"
    return "" if not may_skip or SKIP in str(error) else f"; {SKIP} leaves such images out"


def check_training_classes(train: ImageFiles, readable: ImageFiles, classes: Sequence[str]) -> None:
    """Raise ValueError for a class of which no training image can be read.

    Args:
        train: The training images.
        readable: The training images that can be read.
        classes: The folder of each label.
    """
    counts = torch.bincount(readable.labels, minlength=len(classes))
    if bool(counts.all()):
        return
    label = int(counts.argmin())
    first = int((train.labels == label).nonzero()[0])
    raise ValueError(
        f"no image under {train.folder / classes[label]} can be read, as {decoded_name(train.paths[first])}: "
        f"{reason_of(train, first)}"
    )


def note_unreadable(paths: Sequence[str], images: int, root: Path) -> None:
    """Make a note of the files that cannot be read, out of so many images under `root`."""
    if paths:
        names = list_of_names(map(decoded_name, paths), SHOWN)
        note("data", f"{len(paths):,} of {images:,} images under {root} cannot be read and are {NOT_READ}{names}")
