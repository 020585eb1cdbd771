"""From the root of a folder of images to its splits and classes: what is read, what is left out, what is refused."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from kd_runner.datasets.decoding import SUFFIXES
from kd_runner.datasets.survey import LeftOut, count, kinds_in_words, list_of_names
from kd_runner.datasets.tree import CLOSED, Contents, contents_of, printable
from kd_runner.notes import note

# What the folders of splits are called, in any case.
NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
READ = "train or training; val, valid, validation or dev; test or testing; in upper or lower case"
# What else people call them. These are not read: 'eval' is one's validation and another's test.
OTHER_NAMES = {
    "train": "tr|trn|train|training",
    "val": "val|valid|validation|validate|dev|development|eval|evaluation|holdout|heldout",
    "test": "tst|test|testing|eval|evaluation|holdout|heldout",
}
BEHIND = r"(s|set|data|dataset|images?|imgs?|split|folder|files|pics|pictures)?\d*"
WANTED = "it must hold train/CLASS/* and test/CLASS/*, or CLASS/*, with images"


@dataclass(frozen=True)
class Layout:
    """What is read of a root.

    Args:
        splits: The folder of each split; where there are none, the folder of the classes as 'train'.
        classes: The names of the class folders, sorted.
        images: The images of each split by class folder; relative to the split's folder.
        left_out: What else lies under the root.
    """

    splits: Mapping[str, Path]
    classes: Sequence[str]
    images: Mapping[str, Mapping[str, Sequence[str]]]
    left_out: LeftOut


def layout_of(root: Path, shown: Path | None = None) -> Layout:
    """The splits and classes under `root`.

    Args:
        shown: What notes call the root, such as the archive that it was unpacked from.

    Raises:
        FileNotFoundError: there are no class folders, or one has no images.
        ValueError: folders that cannot be understood, or splits whose class folders differ.
    """
    everything = contents_of(root)
    shown = shown or root
    place, contents = _innermost_folder(root, everything, shown)
    named = _named_splits(place, contents)
    folders = {split: place / name for split, name in named.items()} or {"train": place}
    parts = {split: contents.below(name) for split, name in named.items()} or {"train": contents}
    classes = _classes(folders, parts, shown / folders["train"].relative_to(root))
    images = {split: {name: part.by_subfolder.get(name, []) for name in classes} for split, part in parts.items()}
    return Layout(folders, classes, images, _left_out(root, everything, folders, classes))


def _innermost_folder(root: Path, contents: Contents, shown: Path) -> tuple[Path, Contents]:
    """The folder that holds the splits or classes: where all lies in one folder, that one."""
    place = root
    while len(contents.subfolders) == 1:
        (only,) = contents.subfolders
        inside = contents.below(only)
        if _split_called(only) or not inside.classes:
            break
        place, contents = place / only, inside
    if place != root:
        note("data", f"{shown} holds one folder with folders in it, {place.relative_to(root)}: that one is read")
    return place, contents


def _split_called(name: str) -> str | None:
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def _named_splits(place: Path, contents: Contents) -> dict[str, str]:
    """The folder's name for each split that has one; nothing where the folders are classes.

    Raises:
        ValueError: two folders for one split, or none for training, or a folder that may be a split.
    """
    called: dict[str, list[str]] = {split: [] for split in NAMES}
    others: list[str] = []
    for name in contents.subfolders:
        split = _split_called(name)
        (called[split] if split else others).append(name)
    called = {split: names for split, names in called.items() if names}
    if not called or _are_classes(contents, called, others):
        _refuse_splits_as_classes(place, contents)
        return {}
    for split, names in called.items():
        if len(names) > 1:
            raise ValueError(f"{place} has {' and '.join(names)}, both a name of the {split} split: keep one of them")
    named = {split: names[0] for split, names in called.items()}
    for name in others:
        _refuse_a_split_of_another_name(place, contents, name, named)
    if "train" not in named:
        raise ValueError(
            f"{place} has a folder {' and '.join(named.values())} and none called train: it must have that, too"
        )
    return named


def _are_classes(contents: Contents, called: Mapping[str, Sequence[str]], others: Sequence[str]) -> bool:
    """Whether folders with names of splits are classes: they hold images alone, and so do folders beside them."""
    names = [name for names in called.values() for name in names]
    beside = [name for name in others if contents.below(name).images]
    if not beside or any(contents.below(name).classes for name in (*names, *beside)):
        return False
    if not all(contents.below(name).images for name in names):
        return False
    note(
        "data",
        f"{list_of_names(names)} is read as a class, as it holds images and no folders, like {list_of_names(beside, 3)}",
    )
    return True


def _similar_splits(name: str) -> set[str]:
    """The splits that a folder's name may mean."""
    plain = (
        re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("held-out", "heldout").replace("hold-out", "holdout")
    )
    words = re.findall(r"[a-z]+\d*", plain)
    return {
        split for split, names in OTHER_NAMES.items() if any(re.fullmatch(f"({names}){BEHIND}", word) for word in words)
    }


def _refuse_splits_as_classes(place: Path, contents: Contents) -> None:
    """Raise ValueError where folders without a split's name hold the classes of splits, not images of one class."""
    nested = {name: set(contents.below(name).classes) for name in contents.classes}
    alike = [name for name, classes in nested.items() if _similar_splits(name) and classes]
    if (
        any(
            other != name and (other in alike or len(nested[name] & classes) > 1)
            for name in alike
            for other, classes in nested.items()
        )
        or len(alike) == len(nested) > 0
    ):
        raise ValueError(
            f"{place} has folders that look like splits, {list_of_names(alike)}: call them {READ}; "
            "or, where they are classes, put their images directly in them"
        )
    if len(nested) > 1:
        common = set.intersection(*nested.values())
        if len(common) > 1:
            note(
                "data",
                f"each of the folders {list_of_names(nested)} holds {list_of_names(sorted(common))}: the outer ones are read as the "
                f"classes; where they are splits, call them {READ}",
            )


def _refuse_a_split_of_another_name(place: Path, contents: Contents, name: str, named: Mapping[str, str]) -> None:
    """Raise ValueError where the folder `name` may be a split that is missing; others are left out, and counted."""
    inside = contents.below(name)
    if not inside.images:
        return
    missing = {split for split in _similar_splits(name) if split not in named}
    if not missing and "test" not in named and inside.classes:
        train = contents.below(named["train"]).classes if "train" in named else inside.classes
        missing = {"test"} if set(inside.classes) & set(train) else set()
    if missing:
        names = " or ".join(", ".join(NAMES[split]) for split in NAMES if split in missing)
        raise ValueError(
            f"{place / name} looks like the {' or '.join(sorted(missing))} split, and is not called so: rename it "
            f"({names}), or move it away"
        )


def _classes(folders: Mapping[str, Path], parts: Mapping[str, Contents], shown: Path) -> list[str]:
    """The names of the classes: of the folders with images for training.

    Raises:
        FileNotFoundError, ValueError: a split without class folders, a class without images to learn from, or one
            that is not there for training.
    """
    for split, part in parts.items():
        if not part.classes:
            raise FileNotFoundError(_nothing_there(split, folders[split], part))
    train = parts["train"]
    empty = []
    for name in train.subfolders:
        if name in train.by_subfolder:
            continue
        if name in train.others_by_subfolder or any(name in part.by_subfolder for part in parts.values()):
            raise FileNotFoundError(_no_images(folders["train"] / name, train.others_by_subfolder.get(name)))
        empty.append(name)
    for split, part in parts.items():
        strangers = [name for name in part.classes if name not in train.by_subfolder]
        if strangers:
            raise ValueError(_other_classes(folders, split, strangers, train.classes))
    if empty:
        note("data", f"{count(len(empty), 'folder')} under {shown} without a file left out: {list_of_names(empty)}")
    if len(train.classes) == 1:
        raise ValueError(
            f"{folders['train']} has one class folder, {train.classes[0]}: there must be at least two classes"
        )
    _say_order(train.classes)
    _say_alike(train.classes)
    return train.classes


def _nothing_there(split: str, folder: Path, part: Contents) -> str:
    packed = [kind for (_, kind) in part.others if kind in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")]
    held = suffixes = ""
    if part.images:
        held = f"; it holds {count(len(part.images), 'image')} and no folders"
    elif packed:
        held = f"; it holds {list_of_names(sorted(set(packed)))} files: unpack them, or name one of them as the root"
    elif part.others:
        kinds = sum(part.others_by_subfolder.values(), Counter[str]())
        held = f"; it holds {kinds_in_words(kinds)}"
        suffixes = _what_is_read(kinds)
    remedy = f"; without a folder {folder.name}, the split is cut from train" if split != "train" else ""
    wanted = "it must hold a folder of images for each class"
    return f"no class folders in {folder.resolve()}: {wanted}{held}{remedy}{suffixes}"


def _what_is_read(kinds: Iterable[str]) -> str:
    """Which suffixes are read, and what helps with HEIC, behind what a folder holds in place of images."""
    unread = "; HEIC cannot be read here: pip install kd-runner[heif], or convert the files"
    return f"{unread if {'.heic', '.heif'} & set(kinds) else ''}; read are {', '.join(sorted(SUFFIXES))}"


def _no_images(folder: Path, others: Counter[str] | None) -> str:
    held = f"it holds {kinds_in_words(others)}{_what_is_read(others)}; " if others else ""
    return f"no images under {folder}: {held}a class needs images to learn from; move the folder away if it is none"


def _other_classes(folders: Mapping[str, Path], split: str, strangers: Sequence[str], classes: Sequence[str]) -> str:
    shown = [printable(name) for name in strangers]
    known = {_fold_case(name): name for name in classes}
    similar = [(name, known[_fold_case(name)]) for name in strangers if _fold_case(name) in known]
    hint = ""
    if similar:
        hint = (
            f"; {similar[0][0]} and {similar[0][1]} differ in upper and lower case or in how accents are stored, "
            "and must be the same"
        )
    return (
        f"{folders[split]} must have the class folders of {folders['train']}; only {folders[split].name} "
        f"has {shown[:5]}{f' and {len(shown) - 5} more' if len(shown) > 5 else ''}{hint}"
    )


def _fold_case(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().strip()


def _say_order(classes: Sequence[str]) -> None:
    if all(re.fullmatch(r"\d+", name) for name in classes):
        by_number = sorted(classes, key=int)
        if by_number != list(classes):
            note(
                "data",
                f"class names are numbers and sorted as text, as torchvision's ImageFolder does: {list_of_names(classes)}; "
                "a teacher that was trained elsewhere may have them in another order",
            )


def _say_alike(classes: Sequence[str]) -> None:
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(_fold_case(name), []).append(printable(name))
    alike = [" and ".join(names) for names in groups.values() if len(names) > 1]
    if alike:
        note(
            "data",
            f"class folders that differ only in upper and lower case, spaces or how accents are stored are read as "
            f"classes of their own: {list_of_names(alike)}",
        )


def _left_out(root: Path, everything: Contents, folders: Mapping[str, Path], classes: Iterable[str]) -> LeftOut:
    """What is under the root and not read.

    Raises:
        ValueError: a folder that should be read cannot be opened.
    """
    starts = ["" if folder == root else f"{folder.relative_to(root).as_posix()}/" for folder in folders.values()]
    depth = starts[0].count("/") + 1  # of class folders
    read = {f"{start}{name}" for start in starts for name in classes}

    def place_of(folder: str) -> str:
        parts = folder.split("/")
        of_class = "/".join(parts[:depth])
        return of_class if of_class in read else parts[0] or "."

    kinds, places, images = Counter[str](), Counter[str](), 0
    for (folder, kind), number in everything.others.items():
        if kind == CLOSED and any(f"{folder}/".startswith(start) for start in starts):
            raise ValueError(f"{root / folder} cannot be opened: it must be readable, or lie elsewhere")
        kinds[kind] += number
        places[place_of(folder)] += number
    for image in everything.images:
        folder = image.rpartition("/")[0]
        if "/".join(folder.split("/")[:depth]) not in read:
            kinds[PurePath(image).suffix.lower()] += 1
            places[place_of(folder)] += 1
            images += 1
    return LeftOut(kinds, places, images, everything.hidden)
