"""The contents of a folder of images: its images, and everything else, which is counted by kind."""

from __future__ import annotations

import functools
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

from kd_runner.datasets.decoding.format_by_content import image_format
from kd_runner.datasets.decoding.image_file import SUFFIXES, PictureFile

# Names of files and folders that systems leave beside people's files: their beginnings, and complete names.
HIDDEN = (".", "__MACOSX")
OF_SYSTEMS = {"thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
NO_SUFFIX, BROKEN_LINK, CIRCLE, SPECIAL = "no suffix", "broken link", "link in a circle", "no regular file"
CLOSED, REPEATED = "folder that cannot be opened", "link to a folder that is read already"
LONGEST_SUFFIX = 12
UNNAMED = " without the suffix of one"  # behind the format of an image that its name does not tell
# Other formats are also those of what is no picture to train with: raw photos and slides are TIFF.
FORMATS_OF_ANY_SUFFIX = {"JPEG", "PNG", "WEBP"}


@dataclass
class Contents:
    """A folder's images and everything else in it; paths are relative to it, with slashes.

    Args:
        images: Image files in the order of torchvision's ImageFolder: by folder, then by name.
        folders: All folders in and below it, sorted; hidden ones are left out.
        unread: Number of files that are not read, by (their folder, '' for this one; their kind). The kind of an image
            whose name does not say that it is one is its format and `UNNAMED`.
        hidden: Number of hidden files and hidden folders; what is in a hidden folder is not counted.
        kinds_without_images: Kinds of which a file was opened that is no image.
    """

    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unread: Counter[tuple[str, str]] = field(default_factory=Counter)
    hidden: int = 0
    kinds_without_images: set[str] = field(default_factory=set)

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
    def unread_by_subfolder(self) -> dict[str, Counter[str]]:
        """Number of files that are not images in and below each subfolder, by kind; '' has those directly here."""
        counts: dict[str, Counter[str]] = {}
        for (folder, kind), count in self.unread.items():
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
            name, slash, below = folder.partition("/")
            if slash:
                parts[name].folders.append(below)
        for (folder, kind), number in self.unread.items():
            name, _, below = folder.partition("/")
            if name:
                parts[name].unread[below, kind] += number
        return parts

    def below(self, subfolder: str) -> Contents:
        """The contents of one of the subfolders, without its number of hidden files."""
        return self._below[subfolder]


def is_hidden(name: str) -> bool:
    """True for the name of a file or folder that is passed over without being named."""
    return name.startswith(HIDDEN) or name.lower() in OF_SYSTEMS


def is_image_name(name: str) -> bool:
    """True for the name of a file that is read as an image."""
    _, dot, suffix = name.rpartition(".")  # PurePath's takes a second for 50,000 files
    return f"{dot}{suffix}".lower() in SUFFIXES and not is_hidden(name)


def decoded_name(name: str) -> str:
    """The name with a sign for each byte that is no text: such a name could not be written to a report."""
    return os.fsencode(name).decode("utf-8", "replace")


def name_in_list(name: str) -> str:
    """The decoded name as it stands among others: in quotes where it has a comma, or a space at one of its ends."""
    shown = decoded_name(name)
    return f'"{shown}"' if "," in shown or shown != shown.strip() or not shown else shown


class Folder(NamedTuple):
    """A folder that is to be read.

    Args:
        path: Path relative to the root, with slashes; '' for the root.
        real: Real path, with all links resolved.
        above: Real paths of the folders from which links led here; empty where no link did.
        origin: Path of the folder that holds the first of these links.
    """

    path: str
    real: str
    above: tuple[str, ...] = ()
    origin: str = ""


def contents_of(root: Path) -> Contents:
    """Everything in `root` and below it, links to folders included.

    A link is not followed where it leads back to a folder above it. A link behind another link is not followed where
    a link of the same origin led to its target before: folders that all link to one another would otherwise be read
    in every order.

    Raises:
        ValueError: `root` itself cannot be opened.
    """
    contents = Contents()
    reached: set[tuple[str, str]] = set()  # (origin, target) of the links that were followed
    waiting = deque([Folder("", os.path.realpath(root))])
    while waiting:
        folder = waiting.popleft()
        for entry in _entries(root, folder, contents):
            if is_hidden(entry.name):
                contents.hidden += 1
            elif not _is_true(entry.is_dir):
                _add_file(entry, folder, contents)
            elif entry.is_symlink() and (reason := _reason_not_to_follow(entry, folder, reached)):
                contents.unread[folder.path, reason] += 1
            else:
                subfolder = _subfolder(folder, entry)
                contents.folders.append(subfolder.path)
                waiting.append(subfolder)
                if subfolder.above:
                    reached.add((subfolder.origin, subfolder.real))
    contents.images.sort(key=lambda image: image.rpartition("/")[::2])
    contents.folders.sort()
    return contents


def _entries(root: Path, folder: Folder, contents: Contents) -> list[os.DirEntry[str]]:
    """The entries of a folder, by name; none where it cannot be opened, which is counted."""
    try:
        with os.scandir(root / folder.path) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        if not folder.path:
            raise ValueError(f"{root} cannot be opened ({error.strerror or error})") from error
        contents.unread[folder.path, CLOSED] += 1
        return []


def _add_file(entry: os.DirEntry[str], folder: Folder, contents: Contents) -> None:
    """Add a file of `folder` to the images, or count it by its kind."""
    if not _is_true(entry.is_file):
        contents.unread[folder.path, BROKEN_LINK if entry.is_symlink() else SPECIAL] += 1
    elif is_image_name(entry.name):
        contents.images.append(_join(folder.path, entry.name))
    else:
        kind = kind_of_unread(entry.name, Path(entry.path), contents.kinds_without_images)
        contents.unread[folder.path, kind] += 1


def kind_of_unread(name: str, file: PictureFile, kinds_without_images: set[str]) -> str:
    """The kind of a file whose name is not that of an image.

    Of other suffixes, such as that of 100,000 texts beside images, files are opened until one is no image.

    Args:
        kinds_without_images: Kinds of which a file was opened that is no image; this one's may be added.
    """
    suffix = decoded_name(PurePath(name).suffix.lower())
    kind = suffix if suffix and len(suffix) <= LONGEST_SUFFIX else NO_SUFFIX
    if kind != NO_SUFFIX and kind in kinds_without_images:
        return kind
    image = image_format(file)
    if image is not None and (kind == NO_SUFFIX or image in FORMATS_OF_ANY_SUFFIX):
        return f"{image} image{UNNAMED}"
    kinds_without_images.add(kind)
    return kind


def _is_true(question: Callable[[], bool]) -> bool:
    """The answer of the file system; False where there is none, as for a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _reason_not_to_follow(entry: os.DirEntry[str], folder: Folder, reached: set[tuple[str, str]]) -> str | None:
    """The kind of a link in `folder` that is not followed; None where it is."""
    target = os.path.realpath(entry.path)
    if any(PurePath(real).is_relative_to(target) for real in (*folder.above, folder.real)):
        return CIRCLE
    return REPEATED if folder.above and (folder.origin, target) in reached else None


def _subfolder(folder: Folder, entry: os.DirEntry[str]) -> Folder:
    """The folder `entry` in `folder`, itself or behind a link."""
    path = _join(folder.path, entry.name)
    if not entry.is_symlink():
        return Folder(path, os.path.join(folder.real, entry.name), folder.above, folder.origin)  # noqa: PTH118
    origin = folder.origin if folder.above else folder.path
    return Folder(path, os.path.realpath(entry.path), (*folder.above, folder.real), origin)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
