"""The files that a manifest names. It may be anybody's: no path leads out of its folder unless a person allows it."""

from __future__ import annotations

import itertools
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import list_of_names

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\\\")
SHOWN = 3  # paths in one message
AT_ONCE = 1_000  # files that a thread looks at before it takes others
NOT_THERE, NO_FILE, BROKEN = "it is not there", "it is no regular file", "it is a link that leads nowhere"
OTHER_ACCENTS = "it is not there; a file whose accents are stored in another way is: rename it, or change the path"


@dataclass
class NamedFiles:
    """The files that a manifest names, a path each, relative to the folder that they start from.

    Args:
        paths: The paths, in the order of the manifest, with slashes and without detours such as './'.
        stamps: Size and time of change of each file, int64 [N, 2]; of one that is not there, zeros.
        missing: Why there is no file, by the path's position.
        backslashes: The number of paths whose backslashes were read as slashes.
    """

    paths: list[str]
    stamps: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    missing: dict[int, str] = field(default_factory=dict)
    backslashes: int = 0


def named_files(
    names: Sequence[str], row_name: Callable[[int], str], folder: Path, allowed: Sequence[Path]
) -> NamedFiles:
    """The files that the paths `names` lead to from `folder`.

    Paths, and links on their way, that lead out of the folder and of the allowed ones are refused before any file is
    opened. Each file is asked for once: its size and time of change are those that a cache of images needs.

    Args:
        row_name: A function that gives the name of the row of a position in the manifest, such as 'line 3'.
        allowed: Further folders to which paths and links may lead.

    Raises:
        ValueError: a path is no path of a file here, or leads out; the message begins with 'path'.
    """
    files = NamedFiles([])
    home = os.path.abspath(folder)  # noqa: PTH100
    roots = [home, *(os.path.abspath(path) for path in allowed)]  # noqa: PTH100
    strange: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        path, reason = _path_of(name, home, roots)
        if "\\" in name and path != name:
            files.backslashes += 1
        if reason:
            strange.setdefault(reason, []).append(position)
        files.paths.append(path)
    for reason, positions in strange.items():
        _refuse(reason, [f"{decoded_name(names[position])} ({row_name(position)})" for position in positions], folder)
    _look_at(files, folder, roots, row_name)
    return files


def _path_of(name: str, home: str, roots: Sequence[str]) -> tuple[str, str]:
    """The path relative to the folder `home`, and the reason why it is refused, empty where it is not."""
    if URL.match(name):
        return name, "be paths of files, not addresses: download the images first"
    if os.sep == "/" and WINDOWS_ROOT.match(name):
        return name, "be relative to the folder of the images, not of another machine"
    if os.sep == "/" and "\\" in name and not os.path.lexists(os.path.join(home, name)):  # noqa: PTH118
        name = name.replace("\\", "/")
    path = os.path.normpath(os.path.join(home, name))  # noqa: PTH118
    if not any(_is_in(path, root) for root in roots):
        return name, "stay in {folder}"
    return PurePosixPath(os.path.relpath(path, home)).as_posix(), ""


def _is_in(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _refuse(reason: str, shown: Sequence[str], folder: Path) -> None:
    """Raise ValueError for paths that are refused for one reason."""
    remedy = ""
    if "{folder}" in reason:
        remedy = "; dataset.may_lead_to=[FOLDER] names another folder in which images of yours are"
    must = reason.format(folder=f"{folder} and not lead out of it")
    raise ValueError(f"path must {must}, got {list_of_names(shown, SHOWN)}{remedy}")


def _look_at(files: NamedFiles, folder: Path, roots: Sequence[str], row_name: Callable[[int], str]) -> None:
    """Ask once for each file, and refuse links that lead out of the folders."""
    real_roots = [os.path.realpath(root) for root in roots]
    parents = {os.path.dirname(path) for path in files.paths}  # noqa: PTH120
    with ThreadPoolExecutor() as pool:
        real_parents = dict(
            zip(parents, pool.map(lambda parent: os.path.realpath(folder / parent), parents), strict=True)
        )
        parts = [files.paths[start : start + AT_ONCE] for start in range(0, len(files.paths), AT_ONCE)]
        looked_at = pool.map(lambda part: [_status(folder / path) for path in part], parts)
        statuses = list(itertools.chain.from_iterable(looked_at))
    stamps, outside = [], []
    for position, (path, (status, reason, is_link)) in enumerate(zip(files.paths, statuses, strict=True)):
        parent, name = os.path.split(path)
        real = os.path.realpath(folder / path) if is_link else os.path.join(real_parents[parent], name)  # noqa: PTH118
        if not any(_is_in(real, root) for root in real_roots):
            outside.append(f"{decoded_name(path)} ({row_name(position)}), which leads to {decoded_name(real)}")
        if reason:
            is_named_otherwise = reason == NOT_THERE and differs_in_accents(folder, path)
            files.missing[position] = OTHER_ACCENTS if is_named_otherwise else reason
        stamps.append((0, 0) if status is None else (status.st_size, status.st_mtime_ns))
    if outside:
        _refuse("stay in {folder}, also by links", outside, folder)
    files.stamps = np.array(stamps, dtype=np.int64).reshape(-1, 2)


def _status(path: Path) -> tuple[os.stat_result | None, str, bool]:
    """The status of a regular file; else None and why; and whether the path itself is a link."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None, NOT_THERE, False
    is_link = stat.S_ISLNK(status.st_mode)
    if is_link:
        try:
            status = path.stat()
        except OSError:
            return None, BROKEN, True
    return (status, "", is_link) if stat.S_ISREG(status.st_mode) else (None, NO_FILE, is_link)


def differs_in_accents(folder: Path, path: str) -> bool:
    """True where there is no file at `path`, and one whose name has its accents stored in another way.

    Macs store ö as o and a sign for the dots, and Excel writes it as one letter; both look the same.
    """
    if path.isascii():
        return False
    place = folder
    for part in PurePath(path).parts:
        stored = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        name = next((name for name in stored if os.path.lexists(place / name)), None)
        if name is None:
            return False
        place /= name
    return place != folder / path


def similar_file(folder: Path, path: str) -> str:
    """The end of a message: a file beside a missing one, whose name differs in its case or its suffix alone."""
    if differs_in_accents(folder, path):
        return ""
    parent, name = os.path.split(path)
    try:
        names = sorted(os.listdir(folder / parent))  # noqa: PTH208
    except OSError:
        return f"; there is no folder {decoded_name(parent)} in it" if parent else ""
    stems = (name.casefold(), os.path.splitext(name)[0].casefold())  # noqa: PTH122
    for similar in names:
        if similar.casefold() == stems[0] or os.path.splitext(similar)[0].casefold() in stems:  # noqa: PTH122
            return f"; there is a file {decoded_name(similar)}"
    return ""
