"""The layout of a folder of images: from its root to its splits, its classes, and the files that are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from kd_runner.datasets.folders.class_folders import class_names
from kd_runner.datasets.folders.split_folders import named_splits, split_called
from kd_runner.datasets.folders.tree import CLOSED, Contents, contents_of
from kd_runner.datasets.inspection.survey import LeftOut
from kd_runner.notes import note

WANTED = "it must hold train/CLASS/* and test/CLASS/*, or CLASS/*, with images"


@dataclass(frozen=True)
class Layout:
    """The files under a root that are read, and those that are not.

    Args:
        root: The folder.
        splits: The folder of each split; where there are none, the folder of the classes as 'train'.
        classes: The names of the class folders, sorted.
        images: The images of each split by class folder; relative to the split's folder.
        left_out: All other files under the root.
    """

    root: Path
    splits: Mapping[str, Path]
    classes: Sequence[str]
    images: Mapping[str, Mapping[str, Sequence[str]]]
    left_out: LeftOut


def layout_of(root: Path, shown: Path | None = None) -> Layout:
    """The splits and classes under `root`.

    Args:
        shown: The root as notes call it, such as the archive that it was unpacked from; None: `root`.

    Raises:
        FileNotFoundError: there are no class folders, or one has no images.
        ValueError: folders that cannot be understood, or splits whose class folders differ.
    """
    everything = contents_of(root)
    shown = shown or root
    folder, contents = _innermost_folder(root, everything, shown)
    named = named_splits(folder, contents)
    folders = {split: folder / name for split, name in named.items()} or {"train": folder}
    parts = {split: contents.below(name) for split, name in named.items()} or {"train": contents}
    classes = class_names(folders, parts, shown / folders["train"].relative_to(root))
    images = {split: {name: part.by_subfolder.get(name, []) for name in classes} for split, part in parts.items()}
    left_out = _left_out(everything, [path.relative_to(root) for path in folders.values()], classes, root)
    return Layout(root, folders, classes, images, left_out)


def _innermost_folder(root: Path, contents: Contents, shown: Path) -> tuple[Path, Contents]:
    """The folder that holds the splits or classes: where everything lies in one folder, that one."""
    folder = root
    while len(contents.subfolders) == 1:
        (name,) = contents.subfolders
        inside = contents.below(name)
        if split_called(name) or not inside.classes:
            break
        folder, contents = folder / name, inside
    if folder != root:
        note("data", f"{shown} holds one folder with folders in it, {folder.relative_to(root)}: that one is read")
    return folder, contents


def _left_out(everything: Contents, splits: Sequence[Path], classes: Iterable[str], root: Path) -> LeftOut:
    """The files under the root that are not read.

    Args:
        splits: The folders of the splits, relative to `root`.

    Raises:
        ValueError: a folder that should be read cannot be opened.
    """
    depth = len(splits[0].parts) + 1  # of class folders
    class_folders = {(split / name).as_posix() for split in splits for name in classes}

    def class_or_first_folder(folder: str) -> str:
        parts = folder.split("/")
        class_folder = "/".join(parts[:depth])
        return class_folder if class_folder in class_folders else parts[0] or "."

    kinds, folders, images = Counter[str](), Counter[str](), 0
    for (folder, kind), number in everything.unread.items():
        if kind == CLOSED and any(PurePath(folder).is_relative_to(split) for split in splits):
            raise ValueError(f"{root / folder} cannot be opened: it must be readable, or lie elsewhere")
        kinds[kind] += number
        folders[class_or_first_folder(folder)] += number
    for image in everything.images:
        folder = image.rpartition("/")[0]
        if "/".join(folder.split("/")[:depth]) not in class_folders:
            kinds[PurePath(image).suffix.lower()] += 1
            folders[class_or_first_folder(folder)] += 1
            images += 1
    return LeftOut(kinds, folders, images, everything.hidden)
