"""The contents of a data set in numbers: for the log, for result.json, and for the answer to `dataset=?`."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kd_runner.datasets.folders.tree import (
    BROKEN_LINK,
    CIRCLE,
    CLOSED,
    NO_SUFFIX,
    REPEATED,
    SPECIAL,
    UNNAMED,
    Contents,
    name_in_list,
)
from kd_runner.datasets.packed.tar_members import LINK, SPARSE
from kd_runner.datasets.packed.tar_members import SPECIAL as SPECIAL_MEMBER
from kd_runner.formats import number_of
from kd_runner.notes import note

if TYPE_CHECKING:
    from kd_runner.datasets.decoding.files import ImageFiles
    from kd_runner.datasets.inspection.duplicates import Copies
    from kd_runner.datasets.splits import Splits

IN_WORDS = {
    NO_SUFFIX: ("file", " without a suffix"),
    BROKEN_LINK: ("broken link", ""),
    CIRCLE: ("link", " in a circle"),
    SPECIAL: ("special file", ""),
    CLOSED: ("folder", " that cannot be opened"),
    REPEATED: ("link", " to a folder that is read already"),
    LINK: ("link", " in a tar"),
    SPARSE: ("sparse file", " in a tar"),
    SPECIAL_MEMBER: ("special file", " in a tar"),
}
SHOWN = 3  # folders or kinds in one line
HEIC = {".heic", ".heif"}  # the pictures of many phones, which are left out where the library for them is missing
HEIC_REMEDY = "HEIC cannot be read here: pip install pillow-heif, or convert the files"
SUFFIX_OF_FORMAT = {"JPEG": "jpg", "JPEG2000": "jp2", "SUN": "ras"}  # of others it is the format's name
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class LeftOut:
    """The files under a data set's root that are not read.

    Args:
        kinds: Number of files by suffix.
        folders: Number of files by folder relative to the root; '.' is the root.
        images: Number of images among them, which are in none of the class folders that are read.
        hidden: Number of hidden files and hidden folders beside them.
        unreadable: Paths of images that cannot be read, which are left out as well.
        reasons: Why the first few of these cannot be read.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    folders: Counter[str] = field(default_factory=Counter)
    images: int = 0
    hidden: int = 0
    unreadable: Sequence[str] = ()
    reasons: Sequence[str] = ()

    @property
    def files(self) -> int:
        """Number of files that are not read; hidden and unreadable ones are not among them."""
        return self.kinds.total()

    def record(self) -> dict[str, Any]:
        """The counts as plain data."""
        return {
            "files": self.files,
            "kinds": dict(most_first(self.kinds)),
            "places": dict(most_first(self.folders)),
            "hidden": self.hidden,
            "unreadable": len(self.unreadable),
        }

    def __str__(self) -> str:
        counts = most_first(self.folders)
        folders = ", ".join(f"{folder} ({number:,})" for folder, number in counts[:SHOWN])
        more = sum(number for _, number in counts[SHOWN:])
        folders += f" and {count(len(counts) - SHOWN, 'other folder')} ({more:,})" if more else ""
        are = "is an image" if self.images == 1 else "are images"
        images = f"; {self.images:,} of them {are} outside the class folders that are read" if self.images else ""
        hidden = f"; {hidden_in_words(self.hidden)} beside them" if self.hidden else ""
        return f"{kinds_in_words(self.kinds)}, in {folders}{images}{hidden}{remedies(self.kinds)}"


@dataclass(frozen=True)
class Survey:
    """The files that a data set comes from.

    Args:
        root: The folder of the data set.
        left_out: The files under it that are not read.
        files: The files of each split, in its order.
        cuts: The splits that have no folder and are cut from the training images, each with its setting.
    """

    root: Path
    left_out: LeftOut
    files: Mapping[str, ImageFiles]
    cuts: Sequence[str] = ()

    @functools.cached_property
    def cut_digests(self) -> dict[str, str]:
        """A digest of the names of the files in each split, and as 'images' that of all, which no cut changes.

        Names count from `root`, so that a copy of the data set, also one in memory, has the same.
        """
        root = str(self.root.absolute())
        names = {split: _names_below(root, part) for split, part in self.files.items()}
        names["images"] = [name for part in names.values() for name in part]
        return {part: _digest_of_names(listed) for part, listed in names.items()}


def _names_below(root: str, files: ImageFiles) -> list[str]:
    """The names of files as paths below `root`; those that lie elsewhere as they are."""
    prefix = os.path.relpath(files.folder.absolute(), root)
    prefix, start = "" if prefix == "." else f"{prefix}/", f"{root}/"
    return [path.removeprefix(start) if path.startswith("/") else f"{prefix}{path}" for path in files.paths]


def _digest_of_names(names: Iterable[str]) -> str:
    """16 hexadecimal digits that change with the names, and not with their order."""
    text = "\0".join(sorted(names))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def note_left_out(folder: Path, contents: Contents) -> None:
    """Note the files under a folder that are not read, where there are any."""
    kinds, folders = Counter[str](), Counter[str]()
    for (path, kind), number in contents.unread.items():
        kinds[kind] += number
        folders[path.partition("/")[0] or "."] += number
    left_out = LeftOut(kinds, folders, hidden=contents.hidden)
    if left_out.files:
        note("data", f"{count(left_out.files, 'file')} under {folder} left out: {left_out}")


def most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    """The counts from the largest to the smallest, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def kinds_in_words(kinds: Counter[str]) -> str:
    """The most frequent kinds, such as '5 .txt, 2 .png and 3 of other kinds'."""
    ordered = sorted(most_first(kinds), key=lambda item: not item[0].endswith(UNNAMED))  # images first
    more_files = sum(number for _, number in ordered[SHOWN:])
    more = f" and {more_files:,} of other kinds" if more_files else ""
    return ", ".join(_kind_in_words(kind, number) for kind, number in ordered[:SHOWN]) + more


def _kind_in_words(kind: str, number: int) -> str:
    if kind.endswith(UNNAMED):
        return count(number, kind.removesuffix(UNNAMED), UNNAMED)
    return count(number, *IN_WORDS[kind]) if kind in IN_WORDS else f"{number:,} {kind}"


def remedies(kinds: Iterable[str]) -> str:
    """The end of a line about files that are not read: what to do where they are images; empty where they are none."""
    kinds = list(kinds)
    heic = f"; {HEIC_REMEDY}" if HEIC & set(kinds) else ""
    formats = sorted(kind.removesuffix(f" image{UNNAMED}") for kind in kinds if kind.endswith(UNNAMED))
    if not formats:
        return heic
    suffixes = (f".{SUFFIX_OF_FORMAT.get(name, name.lower())}" for name in formats)
    return f"{heic}; to have these images read, add {' or '.join(suffixes)} to their names"


def count(number: int, noun: str, ending: str = "") -> str:
    """A number of things, such as '1 image', '1,200 images', or with an ending '2 files without a suffix'."""
    return f"{number_of(number, noun)}{ending}"


def hidden_in_words(number: int) -> str:
    """A number of hidden things, such as '2 hidden files or folders'."""
    return f"{number:,} hidden {'file or folder' if number == 1 else 'files or folders'}"


def list_of_names(names: Iterable[str], shown: int = 5) -> str:
    """Some of the names with commas, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def class_counts(labels: Tensor, classes: int) -> list[int]:
    """Number of images of each class; of labels uint8 [N, K], of images that have each label."""
    if labels.dim() == 2:
        return labels.cpu().sum(0, dtype=torch.int64).tolist()
    return torch.bincount(labels.cpu(), minlength=classes).tolist()


def record(splits: Splits, student_images: int | None = None) -> dict[str, Any]:
    """The counts of a data set as plain data, for result.json.

    Args:
        student_images: The number of training images that baseline and student learn from; None: all.
    """
    counts = {split: class_counts(getattr(splits, split).labels, splits.num_classes) for split in SPLITS}
    return {
        "classes": splits.num_classes,
        **{split: len(getattr(splits, split)) for split in counts},
        "student": len(splits.train) if student_images is None else student_images,
        "largest_class": {
            split: _largest(numbers, splits.classes, len(getattr(splits, split))) for split, numbers in counts.items()
        },
        "missing_classes": missing_classes(splits),
        "left_out": splits.survey.left_out.record() if splits.survey is not None else None,
        "duplicates": splits.copies.record() if splits.copies is not None else None,
        "fingerprints": splits.fingerprints,
        **({"labels_per_image": labels_per_image(splits)} if splits.several_labels else {}),
    }


def labels_per_image(splits: Splits) -> float:
    """The mean number of labels of a training image that may have several."""
    return float(splits.train.labels.sum(dtype=torch.int64)) / len(splits.train)


def _largest(counts: Sequence[int], classes: Sequence[str], images: int) -> dict[str, Any]:
    most = max(range(len(counts)), key=counts.__getitem__)
    return {"class": str(classes[most]), "images": counts[most], "share": counts[most] / images}


def line(splits: Splits) -> str:
    """One line with the numbers of images, of classes, and of files that are left out."""
    numbers = ", ".join(f"{len(getattr(splits, split)):,} {name}" for split, name in SPLITS.items())
    text = f"{numbers} images of {'x'.join(map(str, splits.image_shape))}, {splits.num_classes} classes"
    if splits.several_labels:
        text = f"{text.removesuffix(' classes')} labels, {labels_per_image(splits):.1f} an image"
    if splits.survey is None:
        return text
    cuts, left_out = splits.survey.cuts, splits.survey.left_out
    if cuts:
        text += f"; {' and '.join(cuts)} {'is' if len(cuts) == 1 else 'are'} cut from the training images"
    if left_out.files:
        text += f"; {count(left_out.files, 'file')} left out ({kinds_in_words(left_out.kinds)})"
    if left_out.hidden:
        text += f"; {hidden_in_words(left_out.hidden)}"
    return text


def student_line(chosen: int, images: int, settings: Sequence[str], absent: Sequence[str] = ()) -> str:
    """A line on the share of the training images that baseline and student learn from.

    Args:
        settings: Names of the settings that chose them.
        absent: Classes of which there is no image among them.
    """
    end = f", and from none of {list_of_names(absent)}" if absent else ""
    total = count(images, "training image")
    return f"the student learns from {chosen:,} of the {total} ({' and '.join(settings)}){end}"


def write_notes(splits: Splits, copies: Copies | None) -> None:
    """Make notes of what a reader of accuracies must know: missing classes, and copies of images."""
    things = "labels" if splits.several_labels else "classes"
    for split, names in missing_classes(splits).items():
        if names:
            scored = splits.num_classes - len(names)
            effect = {
                "train": "they cannot be learned",
                "val": f"validation is scored on the other {scored}",
                "test": f"the test is scored on the other {scored}",
            }[split]
            if splits.several_labels:
                effect = (
                    f"{'they have' if len(names) > 1 else 'it has'} no average precision"
                    if split != "train"
                    else effect
                )
            note(
                "data",
                f"{len(names):,} of {splits.num_classes:,} {things} {'has' if len(names) == 1 else 'have'} no "
                f"{SPLITS[split]} images ({list_of_names(map(name_in_list, names))}): {effect}",
            )
    if splits.several_labels and bool((splits.train.labels.sum(1) == 1).all()):
        note(
            "data",
            f"each training image has one of the {splits.num_classes:,} labels: they are learned as labels of which an "
            "image may have several; for classes, give each image a number in place of a row of 0 and 1",
        )
    if copies is not None:
        height, width = splits.image_shape[1:]
        copies.write_notes(f"{width}x{height}" if splits.survey is not None else "")


def missing_classes(splits: Splits) -> dict[str, list[str]]:
    """The names of the classes that have no images, by split."""
    counts = {split: class_counts(getattr(splits, split).labels, splits.num_classes) for split in SPLITS}
    return {
        split: [str(name) for name, number in zip(splits.classes, numbers, strict=True) if number == 0]
        for split, numbers in counts.items()
    }
