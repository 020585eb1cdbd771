"""Shards as the webdataset library reads them: tars of images, each with its label in a file of the same name.

`root` holds `train-000.tar`, `val-000.tar`, `test-000.tar` and so on; or folders train, val and test of shards; or
shards without the name of a split, from which the splits are cut as `image_folder` cuts them. A sample is `NAME.jpg`
(or any other image) and `NAME.cls`, `NAME.json` or `NAME.txt`. Images are read in their tars and never unpacked, by the
code that reads image files.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_cache import load_or_compute
from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.pixels import Color, parse_background
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import LeftOut, count, most_first
from kd_runner.datasets.packed.packed_images import PackedImages, window
from kd_runner.datasets.packed.packed_splits import Problems, splits_of_packed
from kd_runner.datasets.packed.shard_samples import Keys, samples_of
from kd_runner.datasets.packed.shards import Shards, find_shards
from kd_runner.datasets.splits import Splits
from kd_runner.datasets.tables.label_values import Value, classes_and_labels, names_of_classes
from kd_runner.files.home import with_home
from kd_runner.notes import note

INDEX = 2  # raise by one when more is read from shards: indices in caches are then no longer used


def webdataset(
    root: str,
    seed: int,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    image_key: str | None = None,
    label_key: str | None = None,
    json_field: str = "label",
    class_names: Sequence[str] | str | None = None,
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
    """The images in shards: decoded once and kept in memory as bytes, or read from their tars while training.

    Args:
        root: The folder, a shard, or a pattern such as `data/x-{000..099}.tar`; `~` is expanded.
        train, val, test: Patterns of the shards of each split, relative to `root`; None: by the names of the shards.
        image_key: Ending of the images, such as `input.png`; None: the one that is an image.
        label_key: Ending of the labels; None: cls, else json, else txt.
        json_field: The label in a .json that is a record.
        class_names: A name for each number that is a label, or a text file with a name in each line.
        image_size, color, max_pixels, white, resize_size: The fields of `PixelSettings`.
        on_bad_image: `error` ends the run at a sample whose image or label cannot be read, and at a broken shard;
            `skip` leaves it out and notes its name.
        val_fraction, test_fraction, cache, residency, background: The arguments of `image_folder` with these names. The
            cache keeps the names, places and labels of the samples, too, so that shards are not searched again.

    Raises:
        FileNotFoundError: no such folder, or no shards in it.
        ValueError: a shard or a sample that cannot be read, labels that no training image has, or shards of which
            it is not clear to which split they belong.
    """
    pixels = PixelSettings(image_size, color, parse_background(background), max_pixels, white, resize_size=resize_size)
    cache_folder = with_home(cache) if cache else None
    keys = Keys(_ending(image_key), _ending(label_key), json_field)
    shards = find_shards(root, {"train": train, "val": val, "test": test})
    indices = _read_indices(shards, keys, cache_folder)
    problems = _problems(shards, indices)
    values = {split: [sample[3] for index in part for sample in index["samples"]] for split, part in indices.items()}
    _check_samples(root, indices, values)
    classes, labels = classes_and_labels(values, names_of_classes(class_names, shards.folder))
    files = _images(shards, indices, labels, pixels)
    left_out = _left_out(shards, indices)
    if left_out.files:
        note("data", f"{count(left_out.files, 'file')} under {root} left out: {left_out}")
    fractions = {"val": val_fraction, "test": test_fraction}
    return splits_of_packed(files, classes, left_out, problems, fractions, seed, residency, cache_folder, on_bad_image)


def _ending(key: str | None) -> str | None:
    return None if key is None else key.lower().lstrip(".")


@dataclass(frozen=True)
class TarPack:
    """Images in tars, by the name of the tar and of the image in it.

    Args:
        shards: The tars.
        marks: A number for each tar, int64, which changes with its size and its time of change.
        numbers: The row of each image in `places`.
        places: The number of the tar, the first byte and the size of each image, int64 [N, 3].
    """

    shards: Sequence[Path]
    marks: np.ndarray
    numbers: Mapping[str, int]
    places: np.ndarray

    def open(self, name: str) -> IO[bytes]:
        shard, start, size = self.places[self.numbers[name]].tolist()
        return window(self.shards[shard], start, size)

    def stamps(self, names: Sequence[str]) -> np.ndarray:
        rows = self.places[[self.numbers[name] for name in names]].reshape(-1, 3)
        return np.stack([rows[:, 1] * 2**20 + rows[:, 2], self.marks[rows[:, 0]]], axis=1)


def _read_indices(shards: Shards, keys: Keys, cache: Path | None) -> dict[str, list[dict[str, Any]]]:
    """The samples of each shard of each split, as `samples_of` gives them."""

    def index(shard: Path) -> dict[str, Any]:
        return dict(load_or_compute(_index_file(shard, keys, cache), lambda: samples_of(shard, keys)))

    with ThreadPoolExecutor() as pool:
        return {split: list(pool.map(index, paths)) for split, paths in shards.splits.items()}


def _index_file(shard: Path, keys: Keys, cache: Path | None) -> Path | None:
    if cache is None:
        return None
    status = shard.stat()
    content = (str(shard.resolve()), status.st_size, status.st_mtime_ns, keys.image, keys.label, keys.field, INDEX)
    return cache / f"{hashlib.sha256(repr(content).encode()).hexdigest()[:32]}.samples.json"


def _place(shards: Shards, shard: Path) -> str:
    """The path of a shard relative to the folder of the data set."""
    return os.path.relpath(shard, shards.folder)


def _problems(shards: Shards, indices: Mapping[str, list[dict[str, Any]]]) -> Problems:
    """The samples that are no image with a label, and the shards that are broken."""
    names, reasons, broken = [], [], []
    for split, paths in shards.splits.items():
        for shard, index in zip(paths, indices[split], strict=True):
            names += [f"{_place(shards, shard)}/{name}" for name, _ in index["problems"]]
            reasons += [reason for _, reason in index["problems"]]
            if index["broken"]:
                images = count(len(index["samples"]), "image")
                broken.append(
                    f"{shard} cannot be read to its end ({decoded_name(index['broken'])}), {images} before that"
                )
            if index["behind"]:
                size = f"{index['behind']:,} bytes"
                note("data", f"{shard} has {size} behind its end, which no reader of tars reads: were two joined?")
    return Problems(names, reasons, broken)


def _check_samples(
    root: str, indices: Mapping[str, list[dict[str, Any]]], values: Mapping[str, Sequence[Value]]
) -> None:
    """Raise ValueError where a split has no images with labels, or labels come from files of two endings."""
    for split, part in values.items():
        if not part:
            kinds: Counter[str] = sum((Counter(index["unread"]) for index in indices[split]), Counter())
            problem = next((reason for index in indices[split] for _, reason in index["problems"]), "")
            broken = next((index["broken"] for index in indices[split] if index["broken"]), "")
            holds = f"; there are {', '.join(kind for kind, _ in most_first(kinds)[:5])} files" if kinds else ""
            why = f" ({problem or broken})" if problem or broken else ""
            raise ValueError(
                f"no image with a label in the shards of {root} for {split}{why}: a sample is NAME.jpg and NAME.cls, "
                f"a name up to its first dot{holds}"
            )
    endings: Counter[str] = sum((Counter(index["labels"]) for part in indices.values() for index in part), Counter())
    if len(endings) > 1:
        shown = " and ".join(f"{number:,} in .{ending}" for ending, number in most_first(endings))
        raise ValueError(f"labels must have one ending, there are {shown}: dataset.label_key names the one to read")


def _images(
    shards: Shards,
    indices: Mapping[str, list[dict[str, Any]]],
    labels: Mapping[str, Sequence[int]],
    pixels: PixelSettings,
) -> dict[str, PackedImages]:
    """The images of each split, in the order of the shards."""
    paths = [path for part in shards.splits.values() for path in part]
    places = [
        (number, start, size)
        for number, index in enumerate(index for part in indices.values() for index in part)
        for _, start, size, _ in index["samples"]
    ]
    names = {
        split: [
            f"{shard_path}/{sample[0]}"
            for shard_path, index in zip([_place(shards, shard) for shard in part], indices[split], strict=True)
            for sample in index["samples"]
        ]
        for split, part in shards.splits.items()
    }
    numbers = {name: number for number, name in enumerate(name for part in names.values() for name in part)}
    marks = np.array([_mark(path) for path in paths], dtype=np.int64)
    pack = TarPack(paths, marks, numbers, np.array(places, dtype=np.int64))
    return {
        split: PackedImages(shards.folder, part, torch.tensor(labels[split]), pixels, pack=pack)
        for split, part in names.items()
    }


def _left_out(shards: Shards, indices: Mapping[str, list[dict[str, Any]]]) -> LeftOut:
    kinds, folders, hidden = Counter[str](), Counter[str](), shards.hidden
    for (folder, kind), number in shards.unread.items():
        kinds[kind] += number
        folders[folder] += number
    for split, paths in shards.splits.items():
        for shard, index in zip(paths, indices[split], strict=True):
            hidden += index["hidden"]
            kinds.update(index["unread"])
            if index["unread"]:
                folders[_place(shards, shard)] += sum(index["unread"].values())
    return LeftOut(kinds, folders, hidden=hidden)


def _mark(shard: Path) -> int:
    status = shard.stat()
    return int.from_bytes(hashlib.sha256(f"{status.st_size},{status.st_mtime_ns}".encode()).digest()[:7], "big")
