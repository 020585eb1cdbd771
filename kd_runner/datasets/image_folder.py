"""Folders of images, one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from kd_runner.datasets.splits import Split, Splits, cut

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


def image_folder(
    root: str,
    seed: int,
    image_size: int = 32,
    color: Literal["rgb", "gray"] = "rgb",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Splits:
    """Images under `root`, decoded once and kept in memory as bytes.

    With `root/train/CLASS/*` and `root/test/CLASS/*` those are the splits, and `root/val/CLASS/*` is the
    validation split if it exists, else `val_fraction` of the training images. With `root/CLASS/*` both the test
    and the validation split are cut, stratified, with `seed`. Class names are sorted; hidden files are passed over.

    Args:
        image_size: Images are resized so that the shorter side has this many pixels, and cropped to the middle square.
        color: `gray` makes one channel, `rgb` three.

    Raises:
        FileNotFoundError: no such folder, no class folders, or a class folder without images.
        ValueError: an image that cannot be read, or splits whose class folders differ.
    """
    if image_size < 1:
        raise ValueError(f"image_size must be 1 or more, got {image_size}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder.resolve()}: it must hold train/CLASS/* and test/CLASS/*, or CLASS/*, with images"
        )
    named = {name: folder / name for name in ("train", "val", "test") if (folder / name).is_dir()}
    if named and "train" not in named:
        raise ValueError(f"{folder} has a folder {' and '.join(named)} and none called train: it must have that, too")
    if not named:
        classes = _classes(folder)
        rest, test = cut(_decode(folder, classes, image_size, color), test_fraction, seed)
        train, val = cut(rest, val_fraction, seed)
        return Splits(train, val, test, classes)
    classes = _classes(named["train"])
    for split_folder in named.values():
        if _classes(split_folder) != classes:
            different = sorted(set(classes) ^ set(_classes(split_folder)))
            raise ValueError(
                f"{split_folder} must have the class folders of {named['train']}; only one of them has {different[:5]}"
            )
    splits = {name: _decode(path, classes, image_size, color) for name, path in named.items()}
    if "test" not in splits:
        splits["train"], splits["test"] = cut(splits["train"], test_fraction, seed)
    if "val" not in splits:
        splits["train"], splits["val"] = cut(splits["train"], val_fraction, seed)
    return Splits(splits["train"], splits["val"], splits["test"], classes)


def _classes(folder: Path) -> list[str]:
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise FileNotFoundError(
            f"no class folders in {folder.resolve()}: it must hold a folder of images for each class"
        )
    return classes


def _decode(folder: Path, classes: Sequence[str], size: int, color: str) -> Split:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(path for path in (folder / name).iterdir() if _is_image(path))
        if not files:
            raise FileNotFoundError(f"no images under {folder / name}")
        paths += files
        labels += [label] * len(files)
    images = torch.empty(len(paths), 3 if color == "rgb" else 1, size, size, dtype=torch.uint8)

    def fill(number: int) -> None:
        images[number] = _image(paths[number], size, color)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(len(paths)), chunksize=64))
    return Split(images, torch.tensor(labels))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _image(path: Path, size: int, color: str) -> torch.Tensor:
    """uint8 [C, size, size]."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB" if color == "rgb" else "L")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if color == "gray" else pixels.permute(2, 0, 1)
