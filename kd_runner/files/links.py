"""Symbolic links in the folder of a run or a sweep, which could lead what is written there to any file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kd_runner.errors import SettingsError


def refuse_links(folder: Path, key: str) -> None:
    """Raise SettingsError where a symbolic link in `folder` leads out of it; the folder itself may be a link.

    Args:
        key: The setting that names the folder, for the message.
    """
    for link in links_out_of(folder):
        raise SettingsError(
            f"{key}: {folder} must hold no symbolic link that leads out of it, since kd-runner writes there, "
            f"got {link.relative_to(folder)} -> {os.readlink(link)}; put the folder itself on the other disk, "  # noqa: PTH115
            "or remove the link"
        )


def links_out_of(folder: Path) -> Iterator[Path]:
    """The symbolic links below `folder` that lead elsewhere. Links are not followed on the way."""
    inside = Path(os.path.realpath(folder))
    for parent, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = Path(parent, name)
            if path.is_symlink() and inside not in Path(os.path.realpath(path)).parents:
                yield path
