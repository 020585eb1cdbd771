"""Hydra's flags, told apart from settings."""

from __future__ import annotations

import itertools

from kd_runner.errors import SettingsError
from kd_runner.suggestions import did_you_mean

CONFIG_DIR = ("--config-dir", "-cd")  # a folder of a person's own options
# Hydra's flags, each with True where a value follows.
FLAGS = {
    **dict.fromkeys(("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"), False),
    **dict.fromkeys(("--multirun", "-m", "--shell-completion", "-sc", "--info", "-i"), False),
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), True),
    **dict.fromkeys(CONFIG_DIR, True),
}  # Hydra's --experimental-rerun is left out: it unpickles a run's file, which runs the code in it; there is resume=
SWEEP_FLAGS = {"--multirun", "-m"}  # the flags of a sweep


def split_flags(words: list[str]) -> tuple[list[str], list[str]]:
    """The flags with their values, and the settings: Hydra wants the flags first, people put them anywhere.

    Raises:
        SettingsError: a flag that does not exist.
    """
    flags: list[str] = []
    settings: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if not word.startswith("-"):
            settings.append(word)
            continue
        name = word.partition("=")[0]
        if name not in FLAGS:
            raise SettingsError(f"{name}: no such option{did_you_mean(name, FLAGS)}; see kd-runner --help")
        flags.append(word)
        if FLAGS[name] and name == word:
            flags += itertools.islice(remaining, 1)  # its value
    return flags, settings
