"""The pictures to evaluate on that a run has learned from: metrics on these say little about others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kd_runner.datasets.archives import is_archive
from kd_runner.datasets.files import ImageFiles
from kd_runner.datasets.splits import Images
from kd_runner.datasets.survey import count
from kd_runner.deploy.own_test import own_test
from kd_runner.deploy.silence import silence
from kd_runner.deploy.stored_run import read_settings
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.notes import note


def note_trained_on(run: Path, paths: Sequence[Path], trust: Sequence[str] = ()) -> None:
    """Note how many of the pictures are training or validation images of the run, where any are.

    The run's images are looked up only where some of the pictures lie in its own folder of images, and not in one that
    holds the home folder: a stranger's run may name the whole disk. Copies that lie elsewhere are not found.

    Args:
        run: The run's folder, which may be anyone's.
        trust: Packages that a person typed.
    """
    folders = _folders_of_images(run)
    if not any(_is_in(path, folders) for path in paths):
        return
    real = [os.path.realpath(path) for path in paths]
    train = val = None
    if not _is_in(Path(os.path.expanduser("~")) / "a file", folders):  # noqa: PTH111 (it may have no home)
        with suppress(SettingsError, OSError), silence(), own_test(run, trust, residency="stream") as test:
            train, val = (_real_paths(part) for part in (test.splits.train, test.splits.val))
    if train is None or val is None:
        note("data", f"these pictures lie in the folder that {run} learned from: most may be its training images")
        return
    trained, chosen = (sum(path in part for path in real) for part in (train, val))
    kinds = {"training image": trained, "validation image": chosen}
    parts = [count(number, kind) for kind, number in kinds.items() if number]
    if parts:
        seen = f"{' and '.join(parts)} of {run} {'is' if trained + chosen == 1 else 'are'}"
        note("data", f"{seen} among the {len(paths):,} that are judged, and its networks saw them before")


def _folders_of_images(run: Path) -> list[str]:
    """The folders that the run's images are in, as far as its settings say; as they are written, and without links."""
    try:
        dataset = read_settings(run).dataset
    except SettingsError:
        return []
    root, image_root = dataset.get("root"), dataset.get("image_root")
    if not isinstance(root, str) or not root or is_archive(with_home(root)):
        return []
    path = with_home(image_root if image_root and isinstance(image_root, str) else root)
    folder = path if path.is_dir() else path.parent
    return [os.path.abspath(folder), os.path.realpath(folder)] if path.exists() else []  # noqa: PTH100


def _is_in(path: Path, folders: Sequence[str]) -> bool:
    """True for a file below one of the folders, as it is written or without links."""
    written = (os.path.abspath(path), os.path.realpath(path))  # noqa: PTH100
    return any(name.startswith(folder.rstrip(os.sep) + os.sep) for name in written for folder in folders)


def _real_paths(images: Images) -> set[str] | None:
    """The paths of the files of a split, without links; None where they are no files."""
    if not isinstance(images, ImageFiles):
        return None
    return {os.path.realpath(images.folder / path) for path in images.paths}
