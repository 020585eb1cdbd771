"""The sources of the numbers of a report: folders of runs, the names in them, and what was read of them earlier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_runner.files.folder_tree import Tree, folders_holding
from kd_runner.files.read_cache import NAME, ReadCache
from kd_runner.files.results import trees_below


@dataclass(frozen=True)
class Sources:
    """The folders of a report.

    Args:
        trees: The names below each of the folders.
    """

    folders: Sequence[Path]
    trees: Sequence[Tree]
    cache: ReadCache = field(default_factory=ReadCache)

    @staticmethod
    def of(folders: Sequence[Path], out: Path | None = None, cache: ReadCache | None = None) -> Sources:
        """The sources of a report of these folders.

        Args:
            out: The folder of the report, where what was read is remembered; None to remember nothing.
            cache: The memory to use in place of that of `out`.

        Raises:
            SettingsError: no such folder.
        """
        return Sources(folders, trees_below(folders), cache or ReadCache(None if out is None else out / NAME))

    def holding(self, name: str) -> list[Path]:
        """The folders that hold a name."""
        return list(folders_holding(self.trees, name))

    def has(self, folder: Path, name: str) -> bool:
        """True where a folder holds that name."""
        return any(tree.has(str(folder), name) for tree in self.trees)

    def resolve(self, folder: Path) -> str:
        """The path of a folder without links."""
        path = str(folder)
        return next((tree.resolve(path) for tree in self.trees if path in tree.names), None) or os.path.realpath(path)

    def relative(self, folder: Path, start: Path) -> str:
        """The path of a folder from another one."""
        path, root = str(folder), os.path.join(start, "")  # noqa: PTH118
        return path[len(root) :] if path.startswith(root) and ".." not in path else os.path.relpath(path, start)
