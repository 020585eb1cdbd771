"""Archives of pictures that a command is given in place of a folder, unpacked for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from kd_runner.datasets.folders.archives import is_archive, unpack
from kd_runner.errors import SettingsError


@contextmanager
def unpacked_folder(path: Path) -> Iterator[Path]:
    """The folder with all files of an archive, deleted after the block; `path` itself where it is no archive.

    Raises:
        SettingsError: the archive is refused, or cannot be read.
    """
    if not is_archive(path):
        yield path
        return
    try:
        temporary = TemporaryDirectory(prefix="kd_runner_")
    except OSError as error:
        raise SettingsError(f"TMPDIR: must be a folder to unpack {path} in, got {gettempdir()}") from error
    with temporary as cache:
        try:
            unpack(path, Path(cache), "set TMPDIR to another folder")
        except ValueError as error:
            raise SettingsError(str(error)) from error
        (folder,) = (entry for entry in Path(cache).iterdir() if entry.is_dir())
        yield folder
