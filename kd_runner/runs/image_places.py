"""The folders of images that settings name beside the data set, also where they are archives."""

from __future__ import annotations

from pathlib import Path

from kd_runner.config.settings import Settings
from kd_runner.datasets.folders.archives import is_archive, unpack
from kd_runner.files.home import with_home

CACHE = "~/.cache/kd_runner/decoded"  # for data sets that have no folder for decoded images
ANOTHER_HOME = "set HOME to a folder that can be written, or unpack it"  # these have no dataset.cache to choose


def folder_of_images(path: Path, settings: Settings) -> Path:
    """The folder at `path`; of an archive, the folder that its files were unpacked in, beside the decoded images.

    Raises:
        ValueError: the archive is refused or cannot be read, `dataset.cache` is null, or the folder for its files
            cannot be written.
    """
    if not is_archive(path):
        return path
    if "cache" not in settings.dataset.node:
        return unpack(path, with_home(CACHE), ANOTHER_HOME)
    cache = settings.dataset.node["cache"]
    if cache is None:
        raise ValueError(f"{path} cannot be unpacked where dataset.cache is null: unpack it, or name a folder there")
    return unpack(path, with_home(cache))


def with_typed_name(message: str, folder: Path, typed: Path) -> str:
    """The message about images in `folder` with the path that was typed: that of the archive unpacked there."""
    return message.replace(str(folder), str(typed))
