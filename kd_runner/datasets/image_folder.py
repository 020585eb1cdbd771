"""Folders of images, one folder per class.

`root/train/CLASS/*` and `root/test/CLASS/*` are the training and the test split, if they exist. `root/val/CLASS/*` is
the validation split if it exists, else `val_fraction` of the training images. With `root/CLASS/*` the test and the
validation split are cut from all images, the same share of each class, with `seed`. Names of splits are train or
training; val, valid, validation or dev; test or testing; in upper or lower case. Where everything lies in one folder,
that folder is the root.

Images in folders below a class folder belong to the class, as in torchvision's ImageFolder, and links are followed.
Class names are sorted as text. Files that are not read are counted, and a note names them.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from kd_runner.datasets.decoding.conversions import LOOKED_AT, note_conversions, sum_of_counts
from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.decoding.image_cache import count_conversions, decode_all
from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.pixels import Color, parse_background
from kd_runner.datasets.folders.archives import SUFFIXES as ARCHIVES
from kd_runner.datasets.folders.archives import is_archive, nothing_at, unpack
from kd_runner.datasets.folders.layout import WANTED, Layout, layout_of
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import SPLITS, Survey, count
from kd_runner.datasets.inspection.unreadable import (
    check_training_classes,
    leave_out_unreadable,
    note_unreadable,
    number_unreadable,
)
from kd_runner.datasets.splits import AnyImages, Split, Splits, cut, unused_cuts
from kd_runner.files.home import with_home
from kd_runner.notes import note

log = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.2  # of the machine's, for all decoded images; more are read from their files while training


def image_folder(
    root: str,
    seed: int,
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
    """Images under `root`: decoded once and kept in memory as bytes, or read from their files while training.

    Args:
        root: The folder, or a .zip or .tar of it, which is unpacked into `cache`; `~` is expanded.
        image_size, color, max_pixels, white, resize_size: The fields of `PixelSettings`.
        on_bad_image: `error` ends the run at an image that cannot be read; `skip` leaves it out and notes its name.
        cache: Folder in which decoded images are kept for the next run; `~` is expanded.
        residency: `stream` reads the files while training; so does `auto` where they do not fit into memory.
        background: Colour below transparent images: white, black, '#rrggbb', or 0 to 255 for a gray.

    Raises:
        FileNotFoundError: no such folder, no class folders, or a class folder without images to learn from.
        ValueError: an image that cannot be read, a class without a training folder, folders that look like splits
            under unknown names, or an archive that is refused.
    """
    pixels = PixelSettings(image_size, color, parse_background(background), max_pixels, white, resize_size=resize_size)
    cache_folder = with_home(cache) if cache else None
    layout, files = _find_files(with_home(root), pixels, cache_folder, on_bad_image == "skip")
    images, conversions = load(files, residency, cache_folder)
    note_conversions(conversions, sum(map(len, files.values())), pixels.ground, white)
    fractions = {"val": val_fraction, "test": test_fraction}
    cuts = {split: fraction for split, fraction in fractions.items() if split not in files}
    splits = cut_off(images, cuts, seed)
    survey = _survey_of(layout, cut_off(files, cuts, seed), cuts)  # the same cuts, of the files' names
    classes = [decoded_name(name) for name in layout.classes]
    unused = settings_without_effect(files, conversions)
    return Splits(**splits, classes=classes, survey=survey, unused=unused, pixels=pixels)


def _find_files(
    root: Path, pixels: PixelSettings, cache: Path | None, skip_unreadable: bool
) -> tuple[Layout, dict[str, ImageFiles]]:
    """The layout of the folder or archive `root`, and the image files of each split."""
    layout = _read_layout(root, cache)
    if layout.left_out.files:
        note("data", f"{count(layout.left_out.files, 'file')} under {root} left out: {layout.left_out}")
    files = {
        split: _image_files(layout.splits[split], paths_by_class.values(), pixels)
        for split, paths_by_class in layout.images.items()
    }
    if not skip_unreadable:
        return layout, files
    readable, unreadable = leave_out_unreadable(files, layout.root, cache)
    check_training_classes(files["train"], readable["train"], layout.classes)
    note_unreadable(unreadable.paths, sum(map(len, files.values())), root)
    left_out = replace(layout.left_out, unreadable=unreadable.paths, reasons=unreadable.reasons)
    return replace(layout, left_out=left_out), readable


def _read_layout(root: Path, cache: Path | None) -> Layout:
    """The splits and classes of the folder or archive `root`. Notes and errors name the archive."""
    if not is_archive(root):
        _check_folder(root)
        return layout_of(root)
    if cache is None:
        raise ValueError(f"cache must be a folder, to unpack {root} into, got null")
    folder = unpack(root, cache)
    try:
        return layout_of(folder, root)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; that is {root}, unpacked") from error


def _check_folder(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise ValueError(f"root must be a folder or an archive ({', '.join(ARCHIVES)}), got the file {root}")
    if not root.is_dir():
        raise FileNotFoundError(f"{nothing_at(root)}: {WANTED}")


def _image_files(folder: Path, paths_by_label: Iterable[Sequence[str]], pixels: PixelSettings) -> ImageFiles:
    """The images of a split; their labels count up from 0 in the order of `paths_by_label`."""
    groups = list(paths_by_label)
    counts = torch.tensor([len(paths) for paths in groups])
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    return ImageFiles(folder, [path for paths in groups for path in paths], labels, pixels)


def load(
    files: Mapping[str, ImageFiles], residency: str, cache: Path | None
) -> tuple[Mapping[str, Split | ImageFiles], Counter[str]]:
    """The images of each split, decoded or left in their files, and the counts of what is converted in them.

    Raises:
        ValueError: an image that cannot be read; the message also says how many there are.
    """
    if _decide_to_stream(sum(part.decoded_bytes for part in files.values()), residency):
        return files, sum_of_counts(count_conversions(part, cache) for part in files.values())
    images: dict[str, Split | ImageFiles] = {}
    counts = []
    for split, part in files.items():
        try:
            images[split], decoded_counts = decode_all(part, cache)
        except ValueError as error:
            raise ValueError(f"{error}{number_unreadable(str(error), files.values())}") from error
        counts.append(decoded_counts or count_conversions(part, cache))
    return images, sum_of_counts(counts)


def _decide_to_stream(needed: int, residency: str) -> bool:
    """True if images of `needed` bytes are read from their files while training; logs it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if residency != "stream" and not (residency == "auto" and needed > SHARE_OF_MEMORY * memory):
        return False
    size = f"{needed / 1e9:.1f} GB" if needed >= 1e9 else f"{max(needed / 1e6, 0.1):.1f} MB"
    log.info("data      %s of images are read from their files while training", size)
    return True


def cut_off(splits: Mapping[str, AnyImages], cuts: Mapping[str, float], seed: int) -> dict[str, AnyImages]:
    """All three splits; those in `cuts` are cut from the training images, the test split first.

    Args:
        cuts: The fraction that is cut, for each of 'val' and 'test' that has no folder.
    """
    parts = dict(splits)
    for split in ("test", "val"):
        if split in cuts:
            parts["train"], parts[split] = cut(parts["train"], cuts[split], seed, f"{split}_fraction")
    return parts


def _survey_of(layout: Layout, files: Mapping[str, ImageFiles], cuts: Mapping[str, float]) -> Survey:
    """The files of all three splits, the files that are left out, and the cuts in words."""
    sizes = {split: len(part) for split, part in files.items()}
    words = [cut_in_words(split, fraction, sizes) for split, fraction in cuts.items()]
    return Survey(layout.root, layout.left_out, files, words)


def settings_without_effect(files: Mapping[str, ImageFiles], conversions: Counter[str]) -> dict[str, str]:
    """The arguments of `image_folder` without an effect on the images in `files`, and why."""
    unused = unused_cuts(files)
    if not conversions["bits"] and conversions[LOOKED_AT] == sum(map(len, files.values())):
        unused["white"] = "no image has more than 8 bits"
    return unused


def cut_in_words(split: str, fraction: float, sizes: Mapping[str, int]) -> str:
    """The name of a split that is cut, its setting, and its real share where that differs by more than a fifth.

    Args:
        split: `val` or `test`.
        fraction: The share that the setting asks for.
        sizes: Number of images of each split, after the cuts.
    """
    # The test split is cut first, from all images; the validation split from those that remain.
    share = sizes[split] / (sum(sizes.values()) if split == "test" else sizes["train"] + sizes["val"])
    text = f"{SPLITS[split]} ({split}_fraction={fraction:g}"
    if abs(share - fraction) <= fraction / 5:
        return f"{text})"
    reason = "at least one of each class" if share > fraction else "rounded in each class"
    return f"{text}: {100 * share:.0f} %, {reason})"
