"""A folder of class folders read for a network that is there already: labels are the network's, found by name."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from kd_runner.datasets.folders.archives import SUFFIXES as ARCHIVES
from kd_runner.datasets.folders.archives import nothing_at
from kd_runner.datasets.folders.split_folders import split_called
from kd_runner.datasets.folders.tree import Contents, contents_of, decoded_name, name_in_list
from kd_runner.datasets.inspection.survey import count, list_of_names, note_left_out
from kd_runner.errors import SettingsError
from kd_runner.notes import note
from kd_runner.suggestions import did_you_mean


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures with their labels.

    Args:
        folder: The folder that holds the class folders, or that the paths of a table start from.
        paths: The pictures.
        labels: The number of each picture's class among the network's classes; uint8 [N, K] where it may have several.
        shown: The folder and the paths as messages have them, where these are not the same.
    """

    folder: Path
    paths: Sequence[Path]
    labels: Sequence[int] | Tensor
    shown: tuple[Path, Sequence[Path]] | None = None

    @property
    def shown_folder(self) -> Path:
        """The folder as messages name it."""
        return self.folder if self.shown is None else self.shown[0]

    @property
    def names(self) -> list[str]:
        """The pictures as messages and results name them."""
        return [decoded_name(str(path)) for path in (self.paths if self.shown is None else self.shown[1])]


def labelled_folder(root: Path, classes: Sequence[str], name: Path | None = None) -> LabelledPictures:
    """The pictures in the class folders under `root`, or under its test folder where it has one.

    Hidden files, links and files that are no pictures are treated as the data set `image_folder` treats them. Notes
    say which classes are missing or unknown, and what is left out.

    Args:
        classes: The names of the network's classes.
        name: The root as messages name it, such as the archive that was unpacked there; None: as it is.

    Raises:
        SettingsError: there is no folder with the name of a class.
    """
    if not root.is_dir():
        wanted = f"a folder of class folders, or an archive of one ({', '.join(ARCHIVES)})"
        raise SettingsError(f"must be {wanted}, got the file {root}" if root.exists() else nothing_at(root))
    try:
        everything = contents_of(root)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    shown_root = root if name is None else name
    folder, contents = _class_level(shown_root, everything, set(classes))
    numbers = {name: number for number, name in enumerate(classes)}
    folders = _folders_by_class(folder, contents, numbers)
    images = contents.by_subfolder
    pairs = [(path, numbers[name]) for name, subfolder in folders.items() for path in images[subfolder]]
    _note_unknown(folder, contents, set(folders.values()), classes)
    note_missing(f"under {folder}", [name for name in classes if name not in folders], classes)
    note_left_out(folder, contents)
    real_folder, labels = root / folder.relative_to(shown_root), [label for _, label in pairs]
    shown, paths = ([place / path for path, _ in pairs] for place in (folder, real_folder))
    return LabelledPictures(real_folder, paths, labels, None if name is None else (folder, shown))


def _class_level(root: Path, contents: Contents, classes: set[str]) -> tuple[Path, Contents]:
    """The folder whose folders are the classes: the root, its folder for the test, or the only folder in it.

    Raises:
        SettingsError: there is none.
    """
    folder, level = root, contents
    while not classes & {decoded_name(name) for name in level.classes}:
        tests = [name for name in level.subfolders if split_called(name) == "test" and level.below(name).images]
        if len(tests) > 1:
            raise SettingsError(f"{folder} has {' and '.join(tests)}: name the one to evaluate on")
        if not tests and len(level.subfolders) != 1:
            raise SettingsError(_no_class(root, folder, level, sorted(classes)))
        (name,) = tests or level.subfolders
        folder, level = folder / name, level.below(name)
    if folder != root:
        note("data", f"the pictures in {folder} are read")
    return folder, level


def _no_class(root: Path, folder: Path, level: Contents, classes: Sequence[str]) -> str:
    """The message for a folder in which no folder has the name of a class."""
    known = f"the network's classes are {list_of_names(map(name_in_list, classes))}"
    name = decoded_name(root.resolve().name)
    if name in classes and level.images:
        return (
            f"{root} is the folder of one class, {name_in_list(name)}, and has no class folders: name the folder above "
            f"it, {root.resolve().parent}, or predict its pictures' classes with kd-predict"
        )
    splits = [name for name in level.subfolders if split_called(name)]
    if splits:
        remedy = f"name the folder to evaluate on, such as {folder / splits[-1]}"
        return f"{folder} has the folders {list_of_names(splits)} and none for the test: {remedy}"
    if not level.images:
        return f"no pictures in or below {root}"
    if not level.subfolders:
        return f"{folder} has pictures and no class folders; to predict their classes: kd-predict; {known}"
    names = list_of_names(map(name_in_list, level.subfolders))
    return f"{folder} has no folder with the name of a class: it has {names}; {known}"


def _folders_by_class(folder: Path, contents: Contents, numbers: dict[str, int]) -> dict[str, str]:
    """The folder of each class that has pictures, in the network's order.

    Raises:
        SettingsError: two folders have the same name as messages and files of weights show it.
    """
    folders: dict[str, str] = {}
    for subfolder in contents.classes:
        name = decoded_name(subfolder)
        if name in folders:
            raise SettingsError(f"{folder} has two folders that are shown as {name}: rename one of them")
        if name in numbers:
            folders[name] = subfolder
    return dict(sorted(folders.items(), key=lambda item: numbers[item[0]]))


def _note_unknown(folder: Path, contents: Contents, used: set[str], classes: Sequence[str]) -> None:
    """Note the pictures that have no class of the network."""
    unknown = {name: len(contents.by_subfolder[name]) for name in contents.classes if name not in used}
    if unknown:
        names = [f"{name_in_list(name)}{similar_class(decoded_name(name), classes)}" for name in unknown]
        verb = "is" if len(unknown) == 1 else "are"
        note(
            "data",
            f"{count(len(unknown), 'folder')} under {folder} {verb} no class of the network, and "
            f"{count(sum(unknown.values()), 'picture')} in {'it' if len(unknown) == 1 else 'them'} left out: "
            f"{list_of_names(names)}",
        )
    if loose := len(contents.by_subfolder.get("", ())):
        note(
            "data", f"{count(loose, 'picture')} directly in {folder} left out: only those in class folders have a label"
        )


def similar_class(name: str, classes: Sequence[str]) -> str:
    """The class that an unknown folder may mean."""
    folded = unicodedata.normalize("NFC", name).casefold().strip()
    for known in classes:
        if unicodedata.normalize("NFC", known).casefold().strip() == folded:
            return f" (the network's is called {name_in_list(known)})"
    return did_you_mean(name, classes) if len(classes) <= 1000 else ""


def note_missing(where: str, missing: Sequence[str], classes: Sequence[str], several_labels: bool = False) -> None:
    """Note the classes without a picture, and what that does to the metrics; nothing where there are none.

    Args:
        where: The place of the pictures, such as 'under FOLDER'.
        several_labels: A picture may have several.
    """
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        scored = len(classes) - len(missing)
        metrics = "mAP and macro F1" if several_labels else "precision, recall and F1"
        note(
            "data",
            f"{len(missing):,} of {len(classes):,} {'labels' if several_labels else 'classes'} {verb} no picture "
            f"{where} ({list_of_names(map(name_in_list, missing))}): {metrics} are means over the other {scored:,}",
        )
