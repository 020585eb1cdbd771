"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 through torchvision's readers."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from torchvision import datasets

from kd_runner.datasets.splits import Split, Splits, cut
from kd_runner.files.home import with_home
from kd_runner.notes import note

log = logging.getLogger(__name__)

# The files that a person has to put under the root when there is no way to download them.
FILES = {
    "MNIST": "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
    "FashionMNIST": "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
    "CIFAR10": "cifar-10-batches-py/",
    "CIFAR100": "cifar-100-python/",
}


def torchvision_set(
    name: Literal["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"],
    root: str,
    seed: int,
    download: bool = True,
    val_fraction: float = 0.1,
) -> Splits:
    """The data set `name`, its published test split, and a validation split cut from the training images.

    Args:
        root: Folder in torchvision's layout; `~` is expanded.
        download: Fetch the data set when it is missing.
        val_fraction: Share of each class of the training images kept for validation, drawn with `seed`.

    Raises:
        FileNotFoundError: the data set is not under `root`, and was not downloaded.
        ValueError: its files cannot be read, or do not belong together.
    """
    folder = with_home(root)
    train, classes = _read(name, folder, train=True, download=download)
    test, _ = _read(name, folder, train=False, download=download)
    train, val = cut(train, val_fraction, seed, "val_fraction")
    return Splits(train, val, test, classes)


def _read(name: str, folder: Path, train: bool, download: bool) -> tuple[Split, list[str]]:
    reader = getattr(datasets, name)
    try:
        data = reader(root=str(folder), train=train, download=False)
    except (RuntimeError, ValueError, AssertionError, EOFError, OSError, UnpicklingError) as missing:
        if "not found" not in str(missing):  # torchvision's words for a missing data set
            raise ValueError(f"{name} under {folder.resolve()} cannot be read ({_first_line(missing)})") from missing
        data = _download(name, folder, train, download, missing)
    if getattr(data, "_check_legacy_exist", bool)():
        note("data", f"{name} is read from {data.processed_folder}, which an old torchvision left, and not from raw/")
    images = torch.as_tensor(np.asarray(data.data))
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
    try:
        return Split(images, torch.as_tensor(data.targets, dtype=torch.int64)), list(data.classes)
    except ValueError as error:  # images and labels of files that do not belong together
        raise ValueError(f"{name} under {folder.resolve()}: {error}") from error


def _download(name: str, folder: Path, train: bool, download: bool, missing: Exception) -> Any:
    """The data set, downloaded now. Files that are not as they were published are replaced, and a note says so."""
    has_files = any((folder / FILES[name].partition("/")[0]).rglob("*"))
    wanted = f"no {name} under {folder.resolve()}"
    if has_files:
        wanted = f"{name} under {folder.resolve()} is incomplete, or not as it was published"
    remedy = f"put {FILES[name]} there or set dataset.root to a folder that has it"
    if not download:
        raise FileNotFoundError(f"{wanted}, and dataset.download is false: {remedy}") from missing
    log.info("data      %s is downloaded into %s", name, folder.resolve())
    try:
        data = getattr(datasets, name)(root=str(folder), train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(f"{wanted}, and downloading it failed ({_first_line(error)}): {remedy}") from error
    if has_files:
        note("data", f"{wanted}: it was completed by a download (dataset.download)")
    return data


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
