"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from kd_runner.errors import RunFailed
from kd_runner.files.plain_files import read_plain
from kd_runner.formats import size

WITHOUT_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}  # of a file system that cannot flush a file
UNFINISHED = ".unfinished"  # the end of the name of what is being written; a killed process leaves such files


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A new path beside `path`, for a file or a folder. At the end of the block it becomes `path`, by one renaming.

    An error in the block leaves `path` as it was, and nothing beside it.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def write(path: Path, content: bytes, survives_power_cut: bool = True) -> None:
    """Put `content` at `path`; whatever happens, all of the earlier content or all of the new is there.

    A symbolic link at `path` is replaced, and never followed.

    Args:
        survives_power_cut: False to wait for no disk: a killed process leaves a whole file, a power cut may not.

    Raises:
        RunFailed: the disk is full.
    """
    try:
        with replacement(path) as beside, beside.open("xb") as out:  # a link there is no file of ours
            out.write(content)
            if survives_power_cut:
                flush(out)
        if survives_power_cut:
            sync(path.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free
        raise RunFailed(
            f"the disk is full: {path.name} needs {size(len(content))}, {size(free)} are free in "
            f"{path.parent.resolve()}"
        ) from error


def flush(file: IO[bytes]) -> None:
    """Flush a file that is being written to the disk, where its file system can do that."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in WITHOUT_FSYNC:
            raise


def write_json(path: Path, content: Any, indent: int | None = 2, survives_power_cut: bool = True) -> None:
    """Put `content` at `path`, whole, as `write` does; numbers that JSON does not have become null."""
    try:
        text = json.dumps(content, indent=indent, allow_nan=False) + "\n"
    except (ValueError, TypeError):  # a number that JSON does not have, a mapping that is no dictionary
        text = json.dumps(_finite(content), indent=indent, allow_nan=False) + "\n"
    write(path, text.encode(), survives_power_cut)


def read_json(path: Path) -> dict[str, Any]:
    """The object at `path`; empty where there is none that can be read."""
    try:
        content = json.loads(read_plain(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def sync(folder: Path) -> None:
    """Flush the names in `folder` to the disk."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    with suppress(OSError):  # some network file systems refuse it for folders, and some folders cannot be read
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_unfinished(folder: Path) -> None:
    """Delete what killed processes left in `folder`, which no other process may be writing to."""
    for path in folder.iterdir():
        if re.fullmatch(rf"\..+\.[0-9a-f]{{32}}{re.escape(UNFINISHED)}", path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
