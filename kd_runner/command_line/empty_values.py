"""Paths that were typed as nothing, as `resume=$RUN` is where RUN is not set: each would lead somewhere else."""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.command_line.flags import CONFIG_DIR
from kd_runner.errors import SettingsError

# Without a value a new training begins in place of an old one, and an empty path is the current folder.
PATHS = {
    "resume": "a folder",
    "store": "a folder",
    "dataset.root": "a folder or a file",
    "hydra.run.dir": "a folder",
    "hydra.sweep.dir": "a folder",
    "hydra.sweep.subdir": "a name for the folder of each job",
}


def refuse_empty_paths(words: Sequence[str]) -> None:
    """Raise SettingsError where a word names no path at all."""
    for number, word in enumerate(words):
        key, is_setting, value = word.partition("=")
        name = key.lstrip("+")
        if is_setting and name in PATHS and not value.strip("'\" "):
            raise SettingsError(f"{name}: must be {PATHS[name]}, got nothing")
        following = value if is_setting else "".join(words[number + 1 : number + 2])
        if key in CONFIG_DIR and not following.strip("'\" "):
            raise SettingsError(f"{key}: must be a folder, got nothing")
