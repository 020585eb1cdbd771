"""Folders of images, one folder per class."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from kd_runner.datasets.archives import is_archive, unpacked
from kd_runner.datasets.files import Color, ImageFiles
from kd_runner.datasets.splits import Split, Splits, cut, unused_cuts

log = logging.getLogger(__name__)

SHOWN = 10  # names of files in one line of the log
SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
HIDDEN = (".", "__MACOSX")  # how the names of what systems leave beside people's files begin
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
) -> Splits:
    """Images under `root`: decoded once and kept in memory as bytes, or read from their files while training.

    With `root/train/CLASS/*` and `root/test/CLASS/*` those are the splits, and `root/val/CLASS/*` is the
    validation split if it exists, else `val_fraction` of the training images. With `root/CLASS/*` both the test
    and the validation split are cut, stratified, with `seed`. Class names are sorted; hidden files are passed over.

    Args:
        root: The folder, or a .zip or .tar of it, which is unpacked into `cache`; `~` is expanded.
        image_size: Images are resized so that the shorter side has this many pixels, and cropped to the middle square.
        color: `gray` makes one channel, `rgb` three.
        on_bad_image: What becomes of an image that cannot be read: the run ends, or the image is left out, and the log
            says how many were and names them.
        cache: Folder in which decoded images are kept for the next run; `~` is expanded.
        residency: `stream` reads the files while training; so does `auto` where they do not fit into memory.

    Raises:
        FileNotFoundError: no such folder, no class folders, or a class folder without images.
        ValueError: an image that cannot be read, splits whose class folders differ, or an archive that is refused.
    """
    if image_size < 1:
        raise ValueError(f"image_size must be 1 or more, got {image_size}")
    folder = Path(root).expanduser()
    place = Path(cache).expanduser() if cache else None
    if is_archive(folder):
        if place is None:
            raise ValueError(f"cache must be a folder, to unpack {folder} into, got null")
        folder = unpacked(folder, place)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder.resolve()}: it must hold train/CLASS/* and test/CLASS/*, or CLASS/*, with images"
        )
    named = {name: folder / name for name in ("train", "val", "test") if (folder / name).is_dir()}
    if named and "train" not in named:
        raise ValueError(f"{folder} has a folder {' and '.join(named)} and none called train: it must have that, too")
    if not named:
        classes = _classes(folder)
        found = _found(folder, classes, image_size, color)
        found = _readable(found, classes, place) if on_bad_image == "skip" else found
        everything = _placed([found], residency)(found, place)
        rest, test = cut(everything, test_fraction, seed, "test_fraction")
        train, val = cut(rest, val_fraction, seed, "val_fraction")
        return Splits(train, val, test, classes)
    classes = _classes(named["train"])
    for split_folder in named.values():
        if _classes(split_folder) != classes:
            different = sorted(set(classes) ^ set(_classes(split_folder)))
            raise ValueError(
                f"{split_folder} must have the class folders of {named['train']}; only one of them has {different[:5]}"
            )
    files = {name: _found(path, classes, image_size, color) for name, path in named.items()}
    if on_bad_image == "skip":
        files = {name: _readable(each, classes, place) for name, each in files.items()}
    put = _placed(list(files.values()), residency)
    splits = {name: put(each, place) for name, each in files.items()}
    if "test" not in splits:
        splits["train"], splits["test"] = cut(splits["train"], test_fraction, seed, "test_fraction")
    if "val" not in splits:
        splits["train"], splits["val"] = cut(splits["train"], val_fraction, seed, "val_fraction")
    return Splits(splits["train"], splits["val"], splits["test"], classes, unused=unused_cuts(named))


def _classes(folder: Path) -> list[str]:
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(HIDDEN))
    if not classes:
        raise FileNotFoundError(
            f"no class folders in {folder.resolve()}: it must hold a folder of images for each class"
        )
    return classes


def _found(folder: Path, classes: Sequence[str], size: int, color: Color) -> ImageFiles:
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(each.name for each in os.scandir(folder / name) if _is_image(each))
        if not files:
            raise FileNotFoundError(f"no images under {folder / name}")
        paths += [f"{name}/{file}" for file in files]
        labels += [label] * len(files)
    return ImageFiles(folder, paths, torch.tensor(labels), size, color)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in SUFFIXES and not entry.name.startswith(HIDDEN) and entry.is_file()


def _readable(files: ImageFiles, classes: Sequence[str], cache: Path | None) -> ImageFiles:
    """`files` without those that cannot be read, which the log names."""
    unreadable = files.unreadable(cache)
    if not unreadable:
        return files
    names = [files.paths[index] for index in unreadable]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    log.warning(
        "data      %d of %d images under %s cannot be read and are left out (dataset.on_bad_image): %s%s",
        len(names),
        len(files),
        files.folder,
        ", ".join(names[:SHOWN]),
        more,
    )
    kept = torch.ones(len(files), dtype=torch.bool)
    kept[unreadable] = False
    rest = files.subset(torch.nonzero(kept).flatten())
    counts = torch.bincount(rest.labels, minlength=len(classes))
    if not bool(counts.all()):
        raise ValueError(f"no image under {files.folder / classes[int(counts.argmin())]} can be read")
    return rest


def _placed(files: Sequence[ImageFiles], residency: str) -> Callable[[ImageFiles, Path | None], Split | ImageFiles]:
    """How each of `files` becomes a split: decoded, or left where it is."""
    needed = sum(each.bytes for each in files)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if residency == "stream" or (residency == "auto" and needed > SHARE_OF_MEMORY * memory):
        log.info("data      %.1f GB of images are read from their files while training", needed / 1e9)
        return lambda each, cache: each
    return lambda each, cache: each.decoded(cache)
