"""The folders of classes: their names, and what is wrong where they are missing, empty, or differ between splits."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kd_runner.datasets.decoding.image_file import SUFFIXES
from kd_runner.datasets.folders.tree import Contents, decoded_name, name_in_list
from kd_runner.datasets.inspection.survey import count, kinds_in_words, list_of_names, remedies
from kd_runner.datasets.tables.written_labels import WHOLE
from kd_runner.notes import note

PACKED = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


def class_names(folders: Mapping[str, Path], parts: Mapping[str, Contents], shown: Path) -> list[str]:
    """The names of the classes: of the folders with images for training.

    Args:
        folders: The folder of each split.
        parts: The contents of each split's folder.
        shown: The folder for training as notes call it.

    Raises:
        FileNotFoundError: a split without class folders, or a class without images to learn from.
        ValueError: a class that is not there for training, or one class alone.
    """
    for split, part in parts.items():
        if not part.classes:
            raise FileNotFoundError(_no_class_folders(split, folders[split], part))
    empty = _empty_folders(folders["train"], parts)
    classes = parts["train"].classes
    for split, part in parts.items():
        unknown = [name for name in part.classes if name not in parts["train"].by_subfolder]
        if unknown:
            raise ValueError(_unknown_classes(folders["train"], folders[split], unknown, classes))
    if empty:
        names = list_of_names(map(name_in_list, empty))
        note("data", f"{count(len(empty), 'folder')} under {shown} without a file left out: {names}")
    if len(classes) == 1:
        raise ValueError(
            f"{folders['train']} has one class folder, {name_in_list(classes[0])}: there must be at least two classes"
        )
    _note_order_of_numbers(classes)
    note_similar_names(classes)
    return classes


def _empty_folders(folder: Path, parts: Mapping[str, Contents]) -> list[str]:
    """The folders for training without a file, which are left out.

    Raises:
        FileNotFoundError: a folder without an image is a class: it holds other files, or has images in another split.
    """
    train = parts["train"]
    empty = [name for name in train.subfolders if name not in train.by_subfolder]
    for name in empty:
        unread = train.unread_by_subfolder.get(name)
        if unread is not None or any(name in part.by_subfolder for part in parts.values()):
            raise FileNotFoundError(_no_images(folder / name, unread))
    return empty


def _no_class_folders(split: str, folder: Path, part: Contents) -> str:
    packed = {kind for (_, kind) in part.unread if kind in PACKED}
    holds = suffixes = ""
    if part.images:
        holds = f"; it holds {count(len(part.images), 'image')} and no folders"
    elif packed:
        holds = f"; it holds {list_of_names(sorted(packed))} files: unpack them, or name one of them as the root"
        holds += "; shards of images and labels are read by dataset=webdataset" if ".tar" in packed else ""
    elif part.unread:
        kinds = sum(part.unread_by_subfolder.values(), Counter[str]())
        holds = f"; it holds {kinds_in_words(kinds)}"
        holds += "; what Hugging Face datasets saved is read by dataset=hf_disk" if ".arrow" in kinds else ""
        suffixes = _readable_suffixes(kinds)
    remedy = f"; without a folder {folder.name}, the split is cut from train" if split != "train" else ""
    wanted = "it must hold a folder of images for each class"
    return f"no class folders in {folder.resolve()}: {wanted}{holds}{remedy}{suffixes}"


def _no_images(folder: Path, unread: Counter[str] | None) -> str:
    holds = f"it holds {kinds_in_words(unread)}{_readable_suffixes(unread)}; " if unread else ""
    return f"no images under {folder}: {holds}a class needs images to learn from; move the folder away if it is none"


def _readable_suffixes(kinds: Iterable[str]) -> str:
    """The suffixes that are read, and remedies for images of others, for the end of a message about unread files."""
    return f"{remedies(kinds)}; read are {', '.join(sorted(SUFFIXES))}"


def _unknown_classes(train: Path, folder: Path, unknown: Sequence[str], classes: Sequence[str]) -> str:
    """The message for classes of another split's folder that are not there for training."""
    shown = [decoded_name(name) for name in unknown]
    known = {_fold_case(name): name for name in classes}
    similar = [(name, known[_fold_case(name)]) for name in unknown if _fold_case(name) in known]
    suggestion = ""
    if similar:
        suggestion = (
            f"; {similar[0][0]} and {similar[0][1]} differ in upper and lower case or in how accents are stored, "
            "and must be the same"
        )
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return f"{folder} must have the class folders of {train}; only {folder.name} has {shown[:5]}{more}{suggestion}"


def _note_order_of_numbers(classes: Sequence[str]) -> None:
    if all(map(WHOLE.fullmatch, classes)) and sorted(classes, key=float) != list(classes):
        note(
            "data",
            "class names are numbers and sorted as text, as torchvision's ImageFolder does: "
            f"{list_of_names(classes)}; a teacher that was trained elsewhere may have them in another order",
        )


def note_similar_names(classes: Sequence[str], kind: str = "class folders") -> None:
    """Note names of classes that a person may mean as one.

    Args:
        kind: The word of the note for the things that have these names.
    """
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(_number_or_name(name), []).append(name_in_list(name))
    similar = [" and ".join(names) for names in groups.values() if len(names) > 1]
    if similar:
        note(
            "data",
            f"{kind} that differ only in upper and lower case, spaces, zeros before a number or how accents are stored "
            f"are read as classes of their own: {list_of_names(similar)}",
        )


def _number_or_name(name: str) -> str:
    """The name in lower case; of a whole number, or one such as 1.0, without the zeros that change nothing."""
    folded = _fold_case(name)
    number = re.fullmatch(r"([+-]?)0*(\d+?)(\.0*)?", folded, re.ASCII)
    return number[1].removeprefix("+") + number[2] if number else folded


def _fold_case(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()
