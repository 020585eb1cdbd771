"""The names in all folders below a folder, read once, as a report of thousands of runs asks for each many times."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kd_runner.files.run_folder import EVENTS, GRID, HYDRA, PROFILE, RESULT, SETTINGS, UNFINISHED

OF_A_RUN = {RESULT, SETTINGS, GRID}  # names beside which the folders below hold no runs
WITHOUT_RUNS = {EVENTS, HYDRA, UNFINISHED, PROFILE}


@dataclass(frozen=True)
class Tree:
    """The folders below a folder, itself included, and the names in each; links to folders are not followed.

    Args:
        names: The names of files and folders, by the paths of the folders that hold them, as `str` of a Path has them.
    """

    root: Path
    names: dict[str, frozenset[str]]

    @staticmethod
    def below(root: Path) -> Tree:
        """The tree of a folder; what cannot be read is left out."""
        names, here = {}, os.path.join(os.curdir, "")  # noqa: PTH118
        for path, folders, files in os.walk(root):
            # A walk of "." says "./0" where a Path says "0".
            names[path.removeprefix(here)] = frozenset((*folders, *files))
            if not OF_A_RUN.isdisjoint(files):
                folders[:] = [name for name in folders if name not in WITHOUT_RUNS]
        return Tree(root, names)

    @cached_property
    def _resolved_root(self) -> str:
        return os.path.realpath(self.root)

    def resolve(self, path: str) -> str:
        """The path of a folder below the root, without links: those in the tree have none below the root."""
        root = str(self.root)
        if path in self.names and root == os.curdir:
            return self._resolved_root if path == root else os.path.join(self._resolved_root, path)  # noqa: PTH118
        if path in self.names:
            return self._resolved_root + path[len(root) :]
        return os.path.realpath(path)

    @cached_property
    def _folders_by_name(self) -> dict[str, list[str]]:
        return {}

    def holding(self, name: str) -> list[str]:
        """The paths of the folders that hold a name, numbers in their order."""
        known = self._folders_by_name
        if name not in known:
            holders = [path for path, names in self.names.items() if name in names]
            known[name] = sorted(holders, key=natural)
        return known[name]

    def has(self, folder: str, name: str) -> bool:
        """True where the folder, which is one of the tree, holds that name."""
        return name in self.names.get(folder, ())


def natural(path: str) -> list[tuple[int, Any]]:
    """A key to sort paths by: names that are numbers by their size, before other names."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in path.split(os.sep)]  # noqa: PTH206


def folders_holding(trees: Iterable[Tree], name: str) -> Iterator[Path]:
    """The folders of several trees that hold a name."""
    for tree in trees:
        yield from map(Path, tree.holding(name))
