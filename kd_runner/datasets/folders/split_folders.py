"""The folders of splits by their names, in the many ways that people name them. Doubtful names are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from kd_runner.datasets.folders.tree import Contents
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.notes import note

# The names that are read, in any case.
NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
READ = "train or training; val, valid, validation or dev; test or testing; in upper or lower case"
# The names that people use as well. These are not read: 'eval' is validation for some and test for others.
OTHER_NAMES = {
    "train": "tr|trn|train|training",
    "val": "val|valid|validation|validate|dev|development|eval|evaluation|holdout|heldout",
    "test": "tst|test|testing|eval|evaluation|holdout|heldout",
}
ENDING = r"(s|set|data|dataset|images?|imgs?|split|folder|files|pics|pictures)?\d*"


def split_called(name: str) -> str | None:
    """The split that a folder of this name holds: 'train', 'val' or 'test'; None for any other name."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def named_splits(folder: Path, contents: Contents) -> dict[str, str]:
    """The name of the folder of each split that has one; nothing where the folders are classes.

    Raises:
        ValueError: two folders for one split, no folder for training, or a folder that may be a split.
    """
    names_by_split: dict[str, list[str]] = {}
    for name in contents.subfolders:
        if split := split_called(name):
            names_by_split.setdefault(split, []).append(name)
    names_by_split = {split: names_by_split[split] for split in NAMES if split in names_by_split}
    unnamed = [name for name in contents.subfolders if not split_called(name)]
    split_names = [name for names in names_by_split.values() for name in names]
    if not split_names or _are_classes(contents, split_names, unnamed):
        _refuse_splits_as_classes(folder, contents)
        return {}
    for split, names in names_by_split.items():
        if len(names) > 1:
            raise ValueError(f"{folder} has {' and '.join(names)}, both a name of the {split} split: keep one of them")
    named = {split: names[0] for split, names in names_by_split.items()}
    for name in unnamed:
        _refuse_a_split_of_another_name(folder, contents, name, named)
    if "train" not in named:
        raise ValueError(
            f"{folder} has a folder {' and '.join(named.values())} and none called train: it must have that, too"
        )
    return named


def _are_classes(contents: Contents, split_names: Sequence[str], unnamed: Sequence[str]) -> bool:
    """True where folders with names of splits are classes: they hold images alone, and so do folders beside them."""
    beside = [name for name in unnamed if contents.below(name).images]
    if not beside or any(contents.below(name).classes for name in (*split_names, *beside)):
        return False
    if not all(contents.below(name).images for name in split_names):
        return False
    note(
        "data",
        f"{list_of_names(split_names)} is read as a class, as it holds images and no folders, "
        f"like {list_of_names(beside, 3)}",
    )
    return True


def _refuse_splits_as_classes(folder: Path, contents: Contents) -> None:
    """Raise ValueError where folders without a split's name hold the classes of splits, not images of one class."""
    nested = {name: set(contents.below(name).classes) for name in contents.classes}
    suspects = [name for name, classes in nested.items() if classes and similar_splits(name)]
    all_suspect = len(suspects) == len(nested) > 0
    if all_suspect or any(_has_a_counterpart(name, suspects, nested) for name in suspects):
        raise ValueError(
            f"{folder} has folders that look like splits, {list_of_names(suspects)}: call them {READ}; "
            "or, where they are classes, put their images directly in them"
        )
    shared = set.intersection(*nested.values()) if len(nested) > 1 else set()
    if len(shared) > 1:
        note(
            "data",
            f"each of the folders {list_of_names(nested)} holds {list_of_names(sorted(shared))}: the outer ones are "
            f"read as the classes; where they are splits, call them {READ}",
        )


def _has_a_counterpart(name: str, suspects: Sequence[str], nested: Mapping[str, set[str]]) -> bool:
    """True where the folder beside `name` may be a split as well, by its name or by the classes that both hold."""
    return any(
        other_name in suspects or len(nested[name] & classes) > 1
        for other_name, classes in nested.items()
        if other_name != name
    )


def _refuse_a_split_of_another_name(folder: Path, contents: Contents, name: str, named: Mapping[str, str]) -> None:
    """Raise ValueError where the folder `name` may be a split that is missing; any other is left out, and counted."""
    inside = contents.below(name)
    if not inside.images:
        return
    missing = {split for split in similar_splits(name) if split not in named}
    if not missing and "test" not in named and inside.classes:
        train = contents.below(named["train"]).classes if "train" in named else inside.classes
        missing = {"test"} if set(inside.classes) & set(train) else set()
    if missing:
        names = " or ".join(", ".join(NAMES[split]) for split in NAMES if split in missing)
        raise ValueError(
            f"{folder / name} looks like the {' or '.join(sorted(missing))} split, and is not called so: rename it "
            f"({names}), or move it away"
        )


def similar_splits(name: str) -> set[str]:
    """The splits that a folder's name may mean."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    spaced = spaced.replace("held-out", "heldout").replace("hold-out", "holdout")
    words = re.findall(r"[a-z]+\d*", spaced)
    return {
        split for split, names in OTHER_NAMES.items() if any(re.fullmatch(f"({names}){ENDING}", word) for word in words)
    }
