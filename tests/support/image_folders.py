"""Folders of small images on disk, and what `image_folder` makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_cases import exif, noise
from PIL import Image

from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.splits import Splits
from kd_runner.notes import collected_notes


def write_classes(folder: Path, names: str | list[str] = "abc", count: int = 10, start: int = 0) -> None:
    """Images of noise, each another one, in a folder for each class."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(start, start + count):
            write_image(folder / name / f"{index}.png", 1000 * number + index)


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(path)


def noisy_folder(folder: Path, count: int = 12, side: int = 10) -> None:
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def mixed_folder(root: Path, count: int = 6) -> None:
    """Of each split's images some of every kind that is converted."""
    rng = np.random.default_rng(0)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (folder := root / place).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(noise(rng, 20, 24, 4)).save(folder / f"{number}_alpha.png")
            Image.fromarray(noise(rng, 20, 24, high=65536)).save(folder / f"{number}_deep.tif", exif=exif(6))
        Image.fromarray(noise(rng, 30, 20, 3)).save(folder / "turned.jpg", exif=exif(3))
        Image.fromarray(noise(rng, 30, 20, 4), "CMYK").save(folder / "ink.jpg")
        frames = [Image.fromarray(noise(rng, 20, 20)) for _ in range(3)]
        frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
        Image.fromarray(noise(rng, 20, 20, 3)).quantize(8).save(folder / "palette.png")


def read(root: Path | str, **options: Any) -> tuple[Splits, list[str]]:
    """The splits, and all notes: those of reading, and those of missing classes and copies."""
    with collected_notes() as notes:
        splits = image_folder(str(root), seed=0, image_size=6, **options)
        survey.write_notes(splits, splits.copies)
    return splits, notes


def read_images(root: Path, **options: Any) -> tuple[Splits, list[str]]:
    """The splits, and the notes of reading alone."""
    with collected_notes() as notes:
        splits = image_folder(str(root), **{"seed": 0, "image_size": 16, **options})
    return splits, notes


def refused(root: Path | str) -> str:
    """The one line with which the folder is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def sizes(splits: Splits) -> list[int]:
    return [len(splits.train), len(splits.val), len(splits.test)]


def write_plain_classes(root: Path, *classes: str, count: int = 3, size: tuple[int, int] = (8, 8)) -> Path:
    """Plain images, of another colour in each file."""
    for shade, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, (20 * number, 40 * shade, 5)).save(root / name / f"{number}.png")
    return root
