"""A person's own folder of options: what in it would be ignored is refused."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from kd_runner.command_line.flags import CONFIG_DIR, split_flags
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home

PRIMARY = "config.yaml"  # the file that all settings are composed from, of which there is one
OTHER_FILES = ("--config-name", "-cn", "--config-path", "-cp")  # flags that choose another
IN_SEARCHPATH = re.compile(r"file://([^,\]'\"]+)")


def config_dirs(words: Sequence[str]) -> list[str]:
    """The folders of a person's own options that `--config-dir` names."""
    flags = split_flags(list(words))[0]
    typed = [word.partition("=")[2] for word in flags if word.startswith(tuple(f"{flag}=" for flag in CONFIG_DIR))]
    apart = [value for flag, value in itertools.pairwise(flags) if flag in CONFIG_DIR]
    return typed + apart


def refuse_ignored_files(words: Sequence[str]) -> None:
    """Raise SettingsError where a folder of own options has a config.yaml, which Hydra would not read."""
    if any(word.partition("=")[0] in OTHER_FILES for word in words):
        return
    searched = [
        folder for word in words if word.startswith("hydra.searchpath=") for folder in IN_SEARCHPATH.findall(word)
    ]
    for folder in [*config_dirs(words), *searched]:
        file = with_home(folder) / PRIMARY
        if file.is_file():
            key = "hydra.searchpath" if folder in searched else "--config-dir"
            raise SettingsError(
                f"{key}: {file} would be ignored beside kd-runner's own {PRIMARY}; make it "
                f"{folder.rstrip('/')}/experiment/mine.yaml, with '# @package _global_' as its first line, and type "
                "experiment=mine"
            )
