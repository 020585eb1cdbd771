"""The pictures to evaluate on that a run has learned from: metrics on these say little about others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.folders.archives import is_archive
from kd_runner.datasets.folders.tree import is_hidden
from kd_runner.datasets.inspection.survey import count
from kd_runner.datasets.splits import Images
from kd_runner.datasets.subsets.held_out_groups import without_held_out_groups
from kd_runner.deploy.export.silence import silence
from kd_runner.deploy.stored_data import read_stored_data
from kd_runner.deploy.stored_run import read_settings
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.notes import note


def note_trained_on(
    run: Path, paths: Sequence[Path], trust: Sequence[str] = (), unpacked: tuple[Path, Path] | None = None
) -> None:
    """Note how many of the pictures are training or validation images of the run, or were taught without labels.

    The run's images are looked up only where some of the pictures lie in its own folder of images, and not in one that
    holds the home folder: a stranger's run may name the whole disk. Whatever lies in its folder of images without
    labels was taught, and no folder is searched for that. Copies that lie elsewhere are not found; of an archive, the
    pictures are the run's where it learned from the same file.

    Args:
        run: The run's folder, which may be anyone's.
        trust: Packages that a person typed.
        unpacked: The archive that holds the pictures, and the folder where they were unpacked from it; None: they lie
            in no archive.
    """
    dataset = _dataset_of(run)
    folders, unlabelled_folders = _folders_of_images(dataset), _folders(dataset.get("unlabelled"))
    known: Known | None = Known()
    if any(_is_in(path, folders) for path in paths):
        is_home = _is_in(Path(os.path.expanduser("~")) / "a file", folders)  # noqa: PTH111 (it may have no home)
        known = None if is_home else _known_images(run, trust)
    if unpacked is not None and _is_same_file(dataset.get("root"), unpacked[0]):
        known = _known_images(run, trust, unpacked[1])
    if unpacked is not None and _is_same_file(dataset.get("unlabelled"), unpacked[0]):
        unlabelled_folders = _folders(str(unpacked[1]))
    if known is None:
        note("data", f"these pictures lie in the folder that {run} learned from: most may be its training images")
        known = Known()
    real = {path: os.path.realpath(path) for path in paths}
    trained, chosen = (sum(real[path] in part for path in paths) for part in (known.train, known.val))
    labelled = known.train | known.val
    unlabelled = sum(
        real[path] in known.unlabelled or _is_visible_in(path, unlabelled_folders)
        for path in paths
        if real[path] not in labelled
    )
    kinds = {"training image": trained, "validation image": chosen}
    parts = [count(number, kind) for kind, number in kinds.items() if number]
    among = f"among the {len(paths):,} that are judged, and its"
    if parts:
        seen = f"{' and '.join(parts)} of {run} {'is' if trained + chosen == 1 else 'are'}"
        note("data", f"{seen} {among} networks saw them before")
    if unlabelled:
        verb, them = ("is", "it") if unlabelled == 1 else ("are", "them")
        seen = f"{count(unlabelled, 'image', ' without labels')} of {run} {verb}"
        note("data", f"{seen} {among} student was taught the teacher's answers for {them}")


@dataclass(frozen=True)
class Known:
    """The paths of images that a run has learned from, without links.

    Args:
        train, val: The images of these splits.
        unlabelled: The images without labels that came with the data set.
    """

    train: frozenset[str] = frozenset()
    val: frozenset[str] = frozenset()
    unlabelled: frozenset[str] = frozenset()


def _is_same_file(name: object, archive: Path) -> bool:
    """True where a setting of the run names the archive."""
    if not isinstance(name, str) or not name:
        return False
    with suppress(OSError, ValueError):
        return with_home(name).samefile(archive)
    return False


def _known_images(run: Path, trust: Sequence[str], unpacked: Path | None = None) -> Known | None:
    """The images of a run's data set; None where they are no files, or cannot be read any more.

    Args:
        unpacked: The folder of the archive that they are in. It is unpacked again for the run, elsewhere, into a folder
            of the same name; the paths are those in this one.
    """
    with suppress(SettingsError, OSError), silence(), read_stored_data(run, trust, residency="stream") as test:
        splits = without_held_out_groups(test.splits)
        train, val = (_real_paths(part, unpacked) for part in (splits.train, splits.val))
        unlabelled = frozenset() if splits.unlabelled is None else _real_paths(splits.unlabelled, unpacked)
        if train is not None and val is not None:
            return Known(train, val, unlabelled or frozenset())
    return None


def _dataset_of(run: Path) -> dict[str, Any]:
    """The settings of a run's data set; empty where they cannot be read."""
    try:
        return read_settings(run).dataset
    except SettingsError:
        return {}


def _folders_of_images(dataset: Mapping[str, Any]) -> list[str]:
    """The folders that the run's images are in, as far as its settings say; as they are written, and without links."""
    root, image_root = dataset.get("root"), dataset.get("image_root")
    if not isinstance(root, str) or not root or is_archive(with_home(root)):
        return []
    path = with_home(image_root if image_root and isinstance(image_root, str) else root)
    return _folders(str(path if path.is_dir() else path.parent)) if path.exists() else []


def _folders(name: object) -> list[str]:
    """A folder as it is written, and without links; none where there is no such folder."""
    if not isinstance(name, str) or not name or not with_home(name).is_dir():
        return []
    folder = with_home(name)
    return [os.path.abspath(folder), os.path.realpath(folder)]  # noqa: PTH100


def _is_visible_in(path: Path, folders: Sequence[str]) -> bool:
    """True for a file below one of the folders that does not lie in a hidden folder there, which nobody reads."""
    return any(not any(map(is_hidden, Path(below).parts)) for below in _below(path, folders))


def _is_in(path: Path, folders: Sequence[str]) -> bool:
    """True for a file below one of the folders, as it is written or without links."""
    return any(True for _ in _below(path, folders))


def _below(path: Path, folders: Sequence[str]) -> Iterator[str]:
    """The paths of a file from those of the folders that it lies in, as it is written or without links."""
    for name in (os.path.abspath(path), os.path.realpath(path)):  # noqa: PTH100
        for begin in (folder.rstrip(os.sep) + os.sep for folder in folders):
            if name.startswith(begin):
                yield name.removeprefix(begin)


def _real_paths(images: Images, unpacked: Path | None = None) -> frozenset[str] | None:
    """The paths of the files of a split, without links; None where they are no files.

    Args:
        unpacked: The folder that takes the place of one with its name in the paths; None: they are as they are.
    """
    if not isinstance(images, ImageFiles):
        return None
    paths = frozenset(os.path.realpath(images.folder / path) for path in images.paths)
    if unpacked is None:
        return paths
    here, mark = os.path.realpath(unpacked), f"{os.sep}{unpacked.name}{os.sep}"
    return frozenset(f"{here}{os.sep}{path.partition(mark)[2]}" if mark in path else path for path in paths)
