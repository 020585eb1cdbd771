"""Image files that cannot be read: which they are, why, and the splits without them."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_cache import cache_file, load_or_compute
from kd_runner.datasets.decoding.in_threads import results_in_order
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.notes import note

SKIP = "dataset.on_bad_image=skip"
BAD_IMAGE = "cannot be read as an image"  # part of each error about an image that cannot be read
ALL_UNREADABLE = r"; none of [\d,]+ images can be read"
MOST, SECONDS, BLOCK = 100, 10.0, 64  # images that cannot be read, and time, after which no more are looked for
NAMED = 3  # images that an error names
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
            readable = results_in_order(pool, lambda index: _is_readable(files, index), range(len(files)))
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


def number_unreadable(message: str, parts: Iterable[object], seconds: float = SECONDS) -> str:
    """The end of an error's sentence about an image: how many images cannot be read, and the first of them.

    No more than MOST of these are looked for, and no longer than `seconds`. Empty where the error is about something
    else, or the images are in no files.

    Args:
        message: The text of an error about the first image that could not be read.
        parts: The images of all splits.
    """
    files = [part for part in parts if isinstance(part, ImageFiles)]
    images = sum(map(len, files))
    if BAD_IMAGE not in message or images < 2:
        return ""
    broken, looked_at = _first_unreadable(files, seconds)
    if len(broken) == images:
        return f"; none of {images:,} images can be read"
    if len(broken) <= 1:
        return f"; the other {images - 1:,} images can be read" if looked_at == images else ""
    root = os.path.commonpath([part.folder.absolute() for part in files])
    names = list_of_names((decoded_name(os.path.relpath(path, root)) for path in broken), NAMED)
    if looked_at == images:
        return f"; {len(broken):,} of {images:,} images cannot be read ({names})"
    return f"; at least {len(broken):,} of {images:,} images cannot be read, as a look at {looked_at:,} shows ({names})"


def _first_unreadable(files: Sequence[ImageFiles], seconds: float) -> tuple[list[Path], int]:
    """The first images that cannot be read, up to about MOST, and how many images have been looked at for that."""
    broken: list[Path] = []
    looked_at, end = 0, time.monotonic() + seconds
    with ThreadPoolExecutor() as pool:
        for part in files:
            for start in range(0, len(part), BLOCK):
                if len(broken) >= MOST or (looked_at and time.monotonic() > end):
                    return broken, looked_at
                indices = range(start, min(start + BLOCK, len(part)))
                readable = results_in_order(pool, functools.partial(_is_readable, part), indices)
                broken += [
                    part.folder / part.paths[index] for index, fine in zip(indices, readable, strict=True) if not fine
                ]
                looked_at += len(indices)
    return broken, looked_at


def refuse_unreadable(files: ImageFiles, cache: Path | None) -> None:
    """Raise ValueError for a file that cannot be read: without a label, it would end the run after its teacher."""
    for index in unreadable_indices(files, cache):
        try:
            files[index]
        except ValueError as error:
            raise ValueError(f"{error}{number_unreadable(str(error), [files])}") from error


def way_around(message: str, node: Mapping[str, Any]) -> str:
    """The end of an error's sentence that names the setting which leaves such images out; empty where none does.

    Args:
        message: The sentence.
        node: The settings of the data set.
    """
    may_skip = BAD_IMAGE in message and node.get("on_bad_image") == "error" and not re.search(ALL_UNREADABLE, message)
    return "" if not may_skip or SKIP in message else f"; {SKIP} leaves such images out"


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
