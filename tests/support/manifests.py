"""Manifests of small images on disk, and what `manifest` makes of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from image_folders import write_image

from kd_runner.datasets.manifest import manifest
from kd_runner.datasets.splits import Splits
from kd_runner.notes import collected_notes

HEADER = ("path", "label")
ZERO = "\ue000"  # stands for a zero until the file is written


def with_sign(field: Any) -> Any:
    return field.replace("\0", ZERO) if isinstance(field, str) else field


def write_manifest(file: Path, rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER, **options: Any) -> Path:
    """A CSV file with these rows; options are those of the csv module, which before Python 3.11 writes no zeros."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writable = [[with_sign(field) for field in row] for row in (header, *rows)]
        csv.writer(out, **options).writerows(writable)
    file.write_bytes(file.read_bytes().replace(ZERO.encode(), b"\0"))
    return file


def labelled_images(folder: Path, count: int = 24, classes: str = "ab") -> list[tuple[str, str]]:
    """Images of noise in `folder/img`, and their rows: path and label, the classes in turn."""
    rows = [(f"img/{number}.png", classes[number % len(classes)]) for number in range(count)]
    for number, (path, _) in enumerate(rows):
        write_image(folder / path, number)
    return rows


def read(file: Path, **options: Any) -> tuple[Splits, list[str]]:
    """The splits of a manifest of small images, and the notes of reading."""
    with collected_notes() as notes:
        splits = manifest(str(file), **{"seed": 0, "image_size": 6, **options})
    return splits, notes


def refused(file: Path, **options: Any) -> str:
    """The one line with which the manifest is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read(file, **options)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(file.parent), "FOLDER")
