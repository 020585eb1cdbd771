"""Folders of images, one folder per class."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from kd_runner.datasets.archives import SUFFIXES as ARCHIVES
from kd_runner.datasets.archives import is_archive, unpack
from kd_runner.datasets.conversions import LOOKED_AT
from kd_runner.datasets.decoding import MAX_PIXELS
from kd_runner.datasets.files import ImageFiles, note_conversions_of
from kd_runner.datasets.layout import WANTED, Layout, layout_of
from kd_runner.datasets.pixels import Color, parse_background
from kd_runner.datasets.splits import AnyImages, Split, Splits, cut, unused_cuts
from kd_runner.datasets.survey import SPLITS, Survey, count, list_of_names
from kd_runner.datasets.tree import printable
from kd_runner.notes import note

log = logging.getLogger(__name__)

SHOWN = 10  # names of files in one line of the log
NOT_READ = "cannot be read and are left out (dataset.on_bad_image)"  # words of a note
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
) -> Splits:
    """Images under `root`: decoded once and kept in memory as bytes, or read from their files while training.

    With `root/train/CLASS/*` and `root/test/CLASS/*` those are the splits, and `root/val/CLASS/*` is the
    validation split if it exists, else `val_fraction` of the training images. With `root/CLASS/*` both the test
    and the validation split are cut, stratified, with `seed`. Splits are called train or training; val, valid,
    validation or dev; test or testing; in upper or lower case. Where all lies in one folder, that is the root.

    Images in folders below a class folder are the class's, too, as for torchvision's ImageFolder, and links are
    followed. Class names are sorted as text. What is not read is counted, and a note tells of it.

    Args:
        root: The folder, or a .zip or .tar of it, which is unpacked into `cache`; `~` is expanded.
        image_size: Images are resized so that the shorter side has this many pixels, and cropped to the middle square.
        color: `gray` makes one channel, `rgb` three.
        on_bad_image: What becomes of an image that cannot be read: the run ends, or the image is left out, and the log
            says how many were and names them.
        cache: Folder in which decoded images are kept for the next run; `~` is expanded.
        residency: `stream` reads the files while training; so does `auto` where they do not fit into memory.
        background: What images with transparency are laid on: white, black, '#rrggbb' or 0 to 255 for a gray.
        max_pixels: The most pixels, width times height, that a file may have; a larger one cannot be read.
        white: The value that is white in images with more than 8 bits, as those above it are; None: the format's own.

    Raises:
        FileNotFoundError: no such folder, no class folders, or a class folder without images to learn from.
        ValueError: an image that cannot be read, a class folder that is not there for training, folders that may be
            splits and are not called so, or an archive that is refused.
    """
    if image_size < 1:
        raise ValueError(f"image_size must be 1 or more, got {image_size}")
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be 1 or more, got {max_pixels}")
    if white is not None and not 0 < white < math.inf:
        raise ValueError(f"white must be above 0, or null, got {white}")
    ground = parse_background(background)
    place = Path(cache).expanduser() if cache else None
    folder = _folder_of(root, place)
    layout = _understood(root, folder)
    if layout.left_out.files:
        note("data", f"{count(layout.left_out.files, 'file')} under {_shown(root)} left out: {layout.left_out}")
    way = {"size": image_size, "color": color, "ground": ground, "max_pixels": max_pixels, "white": white}
    made: Callable[..., ImageFiles] = functools.partial(ImageFiles, **way)  # type: ignore[arg-type]
    files = {
        split: made(layout.splits[split], *_paths_and_labels(by_class)) for split, by_class in layout.images.items()
    }
    left_out = layout.left_out
    if on_bad_image == "skip":
        files, unreadable, reasons = _readable(folder, root, files, layout.classes, place)
        left_out = replace(left_out, unreadable=unreadable, reasons=reasons)
    put = _to_splits(list(files.values()), residency)
    cut_up = functools.partial(_cut, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
    whole = {split: put(part, place) for split, part in files.items()}
    counts = note_conversions_of(list(files.values()), place)
    images, of_files = cut_up(whole), cut_up(files)
    fractions = {"val": val_fraction, "test": test_fraction}
    cuts = [_cut_in_words(split, share, of_files) for split, share in fractions.items() if split not in files]
    survey = Survey(folder, left_out, of_files, cuts)
    classes = [printable(name) for name in layout.classes]
    unused = unused_cuts(files)
    if not counts["bits"] and counts[LOOKED_AT] == sum(map(len, files.values())):
        unused["white"] = "no image has more than 8 bits"
    return Splits(images["train"], images["val"], images["test"], classes, survey, unused)


def _folder_of(root: str, cache: Path | None) -> Path:
    """The folder that `root` names; of an archive, the one that it was unpacked into."""
    folder = Path(root).expanduser()
    if is_archive(folder):
        if cache is None:
            raise ValueError(f"cache must be a folder, to unpack {folder} into, got null")
        return unpack(folder, cache)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"root must be a folder or an archive ({', '.join(ARCHIVES)}), got the file {folder}")
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder.resolve()}: {WANTED}")
    return folder


def _understood(root: str, folder: Path) -> Layout:
    """What is read of the folder; where it was an archive, its name is in what is said against it."""
    try:
        return layout_of(folder, _shown(root))
    except (FileNotFoundError, ValueError) as error:
        if is_archive(Path(root).expanduser()):
            raise type(error)(f"{error}; that is {root}, unpacked") from error
        raise


def _paths_and_labels(by_class: Mapping[str, Sequence[str]]) -> tuple[list[str], Tensor]:
    """The paths of all images, and their labels, int64 [N]."""
    paths = [path for of_class in by_class.values() for path in of_class]
    counts = torch.tensor([len(of_class) for of_class in by_class.values()])
    return paths, torch.arange(len(counts)).repeat_interleave(counts)


def _cut(splits: Mapping[str, AnyImages], val_fraction: float, test_fraction: float, seed: int) -> dict[str, AnyImages]:
    """All three splits: those that are not there are cut from the training images."""
    parts = dict(splits)
    if "test" not in parts:
        parts["train"], parts["test"] = cut(parts["train"], test_fraction, seed, "test_fraction")
    if "val" not in parts:
        parts["train"], parts["val"] = cut(parts["train"], val_fraction, seed, "val_fraction")
    return parts


def _cut_in_words(split: str, fraction: float, splits: Mapping[str, ImageFiles]) -> str:
    """A split that is cut from the training images, its setting, and its real share where that is quite another."""
    taken = len(splits[split])
    share = taken / (taken + len(splits["train"]) + (len(splits["val"]) if split == "test" else 0))
    text = f"{SPLITS[split]} ({split}_fraction={fraction:g}"
    if abs(share - fraction) <= fraction / 5:
        return f"{text})"
    reason = "at least one of each class" if share > fraction else "rounded in each class"
    return f"{text}: {100 * share:.0f} %, {reason})"


def _shown(root: str) -> Path:
    """What notes call the root: where it is an archive, that, and not where it was unpacked."""
    return Path(root).expanduser()


def _readable(
    folder: Path, root: str, files: Mapping[str, ImageFiles], classes: Sequence[str], cache: Path | None
) -> tuple[dict[str, ImageFiles], list[str], list[str]]:
    """The files that can be read, the paths of those that cannot, which a note names, and why the first few cannot."""
    readable: dict[str, ImageFiles] = {}
    unreadable: list[str] = []
    reasons: list[str] = []
    for split, part in files.items():
        bad = part.unreadable(cache)
        unreadable += [os.path.relpath(part.folder / part.paths[index], folder) for index in bad]
        reasons += [_reason(part, index) for index in bad[: SHOWN - len(reasons)]]
        kept = torch.ones(len(part), dtype=torch.bool)
        kept[bad] = False
        readable[split] = part.subset(torch.nonzero(kept).flatten()) if bad else part
    counts = torch.bincount(readable["train"].labels, minlength=len(classes))
    if not bool(counts.all()):
        train, label = files["train"], int(counts.argmin())
        first = int((train.labels == label).nonzero()[0])
        raise ValueError(
            f"no image under {train.folder / classes[label]} can be read, as {printable(train.paths[first])}: "
            f"{_reason(train, first)}"
        )
    if unreadable:
        note(
            "data",
            f"{len(unreadable):,} of {sum(map(len, files.values())):,} images under {_shown(root)} {NOT_READ}: "
            f"{list_of_names(map(printable, unreadable), SHOWN)}",
        )
    return readable, unreadable, reasons


def _reason(files: ImageFiles, index: int) -> str:
    """Why an image cannot be read, without its name; empty where it can be now."""
    try:
        files[index]
    except ValueError as error:
        return printable(str(error).partition(" cannot be read as an image: ")[2] or str(error))
    return ""


def _to_splits(files: Sequence[ImageFiles], residency: str) -> Callable[[ImageFiles, Path | None], Split | ImageFiles]:
    """How each of `files` becomes a split: decoded, or left where it is."""
    needed = sum(part.bytes for part in files)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if residency == "stream" or (residency == "auto" and needed > SHARE_OF_MEMORY * memory):
        size = f"{needed / 1e9:.1f} GB" if needed >= 1e9 else f"{max(needed / 1e6, 0.1):.1f} MB"
        log.info("data      %s of images are read from their files while training", size)
        return lambda part, cache: part
    return lambda part, cache: part.decode_all(cache)
