"""An .npz as MedMNIST publishes them: `train_images` and `train_labels`, the same for `val` and `test`.

Images are bytes, gray [N, H, W] or in colour [N, H, W, 3], of any size (MedMNIST: 28, 64, 128 and 224 pixels); labels
are whole numbers, [N, 1] or [N], or columns of 0 and 1, one for each label that an image may have (ChestMNIST). Yang et
al. 2023, arXiv:2110.14795.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.datasets.labels.multi_label import labels_of_array
from kd_runner.datasets.splits import Split, Splits, cut, unused_cuts
from kd_runner.datasets.tables.label_values import classes_and_labels, names_of_classes
from kd_runner.files.home import with_home
from kd_runner.notes import note

SHARE_OF_MEMORY = 0.5  # of the machine's, that the arrays may take
WANTED = "an .npz with train_images and train_labels, as MedMNIST publishes them"
SPLITS = ("train", "val", "test")


def medmnist(
    root: str,
    seed: int,
    class_names: Sequence[str] | str | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Splits:
    """The images of an .npz, in memory as bytes.

    Args:
        root: The file; `~` is expanded.
        class_names: A name for each number that is a label, or a text file beside it with a name in each line.
        val_fraction, test_fraction: The share of each class that is cut from the training images, where the file has
            no such split.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of this kind.
    """
    file = with_home(root)
    _check_file(file)
    arrays = _read(file)
    splits = {split: arrays[f"{split}_images"] for split in SPLITS if f"{split}_images" in arrays}
    names = names_of_classes(class_names, file.parent)
    if any(_has_columns(arrays[f"{split}_labels"]) for split in splits):
        classes, labels = _several_labels(arrays, list(splits), names)
    else:
        values = {split: _labels(arrays, split).tolist() for split in splits}
        highest = max(max(part, default=0) for part in values.values())
        if names is not None and len(names) > highest + 1:
            raise ValueError(f"class_names must have a name for each of the {highest + 1} classes, got {len(names)}")
        classes, numbers = classes_and_labels(values, names)
        labels = {split: torch.tensor(part) for split, part in numbers.items()}
    parts = {split: Split(_images(images, split), labels[split]) for split, images in splits.items()}
    fractions = {"val": val_fraction, "test": test_fraction}
    for split in ("test", "val"):
        if split not in parts:
            parts["train"], parts[split] = cut(parts["train"], fractions[split], seed, f"{split}_fraction")
    return Splits(parts["train"], parts["val"], parts["test"], classes, unused=unused_cuts(splits))


def _check_file(file: Path) -> None:
    if file.is_dir():
        names = sorted(path.name for path in file.glob("*.npz"))
        example = f", such as {file / names[0]}" if names else ""
        raise ValueError(f"root must be a file, {WANTED}{example}, got the folder {file}")
    if not file.is_file():
        raise FileNotFoundError(f"no file {file.resolve()}: it must be {WANTED}")


def _read(file: Path) -> dict[str, np.ndarray]:
    """The arrays of images and labels in the file; others are named in a note.

    Raises:
        ValueError: the file cannot be read, lacks training images, or is too large for the machine's memory.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
            shapes = {name.removesuffix(".npy"): _header(archive, name) for name in members}
            if len(shapes) < len(members):  # NumPy may read another than the one whose header was looked at
                raise _Refused(
                    f"{file} must have each array once, got {list_of_names(map(decoded_name, sorted(members)))}"
                )
        wanted = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
        _check_arrays(file, shapes, wanted)
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in wanted if name in shapes}
    except _Refused:
        raise
    except Exception as error:  # on broken files zipfile, zlib and NumPy raise many kinds of errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{file} cannot be read: {reason}; it must be {WANTED}") from error


class _Refused(ValueError):
    """A file that can be read, and does not have what is needed."""


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in the archive, without its values."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return shape, dtype


def _check_arrays(
    file: Path, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], wanted: Sequence[str]
) -> None:
    """Raise ValueError for arrays that are missing or would not fit into memory; note those that are not read."""
    present = [name for name in wanted if name in shapes]
    names = list_of_names(map(decoded_name, shapes)) or "nothing"
    for split in SPLITS:
        pair = {f"{split}_images", f"{split}_labels"} & set(present)
        if len(pair) == 1 or (split == "train" and not pair):
            raise _Refused(f"{file} must have {split}_images and {split}_labels, it has {names}")
    size = sum(math.prod(shapes[name][0]) * shapes[name][1].itemsize for name in present)
    memory = SHARE_OF_MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if not 0 <= size <= memory:
        raise _Refused(f"{file} has {size / 1e9:,.1f} GB of arrays, more than half of this machine's memory")
    unread = [decoded_name(name) for name in shapes if name not in present]
    if unread:
        note("data", f"{list_of_names(unread)} in {file} left out: images and labels of train, val and test are read")


def _images(images: np.ndarray, split: str) -> torch.Tensor:
    """uint8 [N, C, H, W]."""
    name, shape = f"{split}_images", list(images.shape)
    if images.dtype != np.uint8:
        raise ValueError(f"{name} must be bytes (uint8), got {images.dtype}")
    if images.ndim == 3:
        return torch.from_numpy(images).unsqueeze(1)
    if images.ndim == 4 and shape[-1] in (1, 3):
        return torch.from_numpy(images).permute(0, 3, 1, 2)  # the order of memory of decoded files
    are_volumes = images.ndim in (4, 5) and shape[1] == shape[2] == shape[3]
    volumes = ": volumes of three dimensions are not read" if are_volumes else ""
    raise ValueError(f"{name} must be [N, H, W] or [N, H, W, 3], got {shape}{volumes}")


def _has_columns(labels: np.ndarray) -> bool:
    """True for labels [N, K] of images that may have several."""
    return labels.ndim == 2 and labels.shape[1] > 1


def _several_labels(
    arrays: Mapping[str, np.ndarray], splits: Sequence[str], names: Sequence[str] | None
) -> tuple[list[str], dict[str, torch.Tensor]]:
    """The names of the labels, and uint8 [N, K] of each split.

    Raises:
        ValueError: other numbers than 0 and 1, other columns than those of the training images, or other names.
    """
    columns = arrays["train_labels"].shape[-1]
    if names is not None and len(names) != columns:
        raise ValueError(f"class_names must have a name for each of the {columns} labels, got {len(names)}")
    labels = {}
    for split in splits:
        array, images = arrays[f"{split}_labels"], len(arrays[f"{split}_images"])
        if array.shape != (images, columns):
            raise ValueError(f"{split}_labels must be [{images}, {columns}], got {list(array.shape)}")
        try:
            labels[split] = labels_of_array(array)
        except ValueError as error:
            raise ValueError(f"{split}_{error}") from error
    return list(names or map(str, range(columns))), labels


def _labels(arrays: Mapping[str, np.ndarray], split: str) -> np.ndarray:
    """Whole numbers [N].

    Raises:
        ValueError: labels that are no whole numbers, or not one for each image.
    """
    labels, name = arrays[f"{split}_labels"], f"{split}_labels"
    if labels.ndim not in (1, 2) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers, [N] or [N, 1], got {labels.dtype} {list(labels.shape)}")
    images = len(arrays[f"{split}_images"])
    if len(labels) != images:
        raise ValueError(f"{name} must have a label for each of {images:,} images, got {len(labels):,}")
    return labels.reshape(-1)  # of the type that the file has: int64 would make negative ones of the largest
