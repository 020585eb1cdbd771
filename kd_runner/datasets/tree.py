"""What lies in a folder of images and below it: the images, and all else, which is counted by kind."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from kd_runner.datasets.decoding import SUFFIXES

HIDDEN = (".", "__MACOSX")  # how the names of what systems leave beside people's files begin
OF_SYSTEMS = {"thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
NO_SUFFIX, BROKEN_LINK, CIRCLE, SPECIAL = "no suffix", "broken link", "link in a circle", "no regular file"
CLOSED = "folder that cannot be opened"
LONGEST_SUFFIX = 12


@dataclass
class Contents:
    """A folder's images and what else is in it; paths are relative to it, with slashes.

    Args:
        images: In the order of torchvision's ImageFolder: by folder, then by name.
        folders: All folders in and below it, sorted; hidden ones are left out.
        others: How many files are not images, by (the folder that they are in, '' for this one; kind).
        hidden: How many files are hidden or in hidden folders.
    """

    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    hidden: int = 0

    @property
    def subfolders(self) -> list[str]:
        """The names of the folders directly in it, sorted."""
        return [folder for folder in self.folders if "/" not in folder]

    @functools.cached_property
    def by_subfolder(self) -> dict[str, list[str]]:
        """The images in and below each subfolder that has some; '' has those that are directly here."""
        grouped: dict[str, list[str]] = {}
        for image in self.images:
            grouped.setdefault(image.partition("/")[0] if "/" in image else "", []).append(image)
        return grouped

    @property
    def classes(self) -> list[str]:
        """The names of the subfolders with images in or below them, sorted."""
        return sorted(name for name in self.by_subfolder if name)

    @functools.cached_property
    def others_by_subfolder(self) -> dict[str, Counter[str]]:
        """How many files of each kind in and below each subfolder are not images; '' has those directly here."""
        counts: dict[str, Counter[str]] = {}
        for (folder, kind), count in self.others.items():
            counts.setdefault(folder.partition("/")[0], Counter())[kind] += count
        return counts

    @functools.cached_property
    def _below(self) -> dict[str, Contents]:
        """The contents of all subfolders. One pass for all: a pass for each would be quadratic in their number."""
        parts = {folder: Contents() for folder in self.subfolders}
        for name, images in self.by_subfolder.items():
            if name:
                parts[name].images = [image[len(name) + 1 :] for image in images]
        for folder in self.folders:
            name, slash, rest = folder.partition("/")
            if slash:
                parts[name].folders.append(rest)
        for (folder, kind), number in self.others.items():
            name, _, rest = folder.partition("/")
            if name:
                parts[name].others[rest, kind] += number
        return parts

    def below(self, subfolder: str) -> Contents:
        """The contents of one of the subfolders; how much in it is hidden is not known apart."""
        return self._below[subfolder]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over without being named."""
    return name.startswith(HIDDEN) or name.lower() in OF_SYSTEMS


def is_image_name(name: str) -> bool:
    """Whether a file of this name is read as an image."""
    _, dot, suffix = name.rpartition(".")  # PurePath's takes a second for 50,000 files
    return f"{dot}{suffix}".lower() in SUFFIXES and not is_hidden(name)


def printable(name: str) -> str:
    """The name with a sign for each byte that is no text: such a name could not be written to a report."""
    return os.fsencode(name).decode("utf-8", "replace")


def contents_of(root: Path) -> Contents:
    """Everything in `root` and below it. Links to folders are followed, but for those that lead back to where they are.

    Raises:
        ValueError: `root` itself cannot be opened.
    """
    contents = Contents()
    names: list[tuple[str, str]] = []
    waiting: list[tuple[str, str, tuple[str, ...]]] = [("", os.path.realpath(root), ())]
    while waiting:
        place, real, above = waiting.pop()  # above: real paths of the folders from which links led here
        try:
            with os.scandir(root / place) as listing:
                entries = list(listing)
        except OSError as error:
            if not place:
                raise ValueError(f"{root} cannot be opened ({error.strerror or error})") from error
            contents.others[place, CLOSED] += 1
            continue
        for entry in entries:
            if is_hidden(entry.name):
                contents.hidden += _count(entry)
            elif not _holds(entry.is_dir):
                _take(entry, place, names, contents)
            elif entry.is_symlink() and _leads_back(entry, (*above, real)):
                contents.others[place, CIRCLE] += 1
            else:
                below = f"{place}/{entry.name}" if place else entry.name
                linked = entry.is_symlink()
                contents.folders.append(below)
                waiting.append(
                    (below, os.path.realpath(entry.path), (*above, real))
                    if linked
                    else (below, os.path.join(real, entry.name), above)  # noqa: PTH118
                )
    contents.images = [f"{place}/{name}" if place else name for place, name in sorted(names)]
    contents.folders.sort()
    return contents


def _take(entry: os.DirEntry[str], place: str, names: list[tuple[str, str]], contents: Contents) -> None:
    if not _holds(entry.is_file):
        contents.others[place, BROKEN_LINK if entry.is_symlink() else SPECIAL] += 1
    elif is_image_name(entry.name):
        names.append((place, entry.name))
    else:
        suffix = printable(PurePath(entry.name).suffix.lower())
        contents.others[place, suffix if suffix and len(suffix) <= LONGEST_SUFFIX else NO_SUFFIX] += 1


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link to itself, say
        return False


def _leads_back(entry: os.DirEntry[str], above: Sequence[str]) -> bool:
    """Whether the link leads to one of the folders above it, or to one that holds such a folder."""
    target = os.path.realpath(entry.path)
    return any(PurePath(real).is_relative_to(target) for real in above)


def _count(entry: os.DirEntry[str]) -> int:
    """How many files a hidden file or folder is."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))
