"""Hydra's flags, told apart from settings."""

from __future__ import annotations

import itertools

from kd_runner.suggestions import did_you_mean

# Hydra's flags, and whether a value follows.
FLAGS = {
    **dict.fromkeys(("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"), False),
    **dict.fromkeys(("--multirun", "-m", "--shell-completion", "-sc", "--info", "-i"), False),
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), True),
    **dict.fromkeys(("--config-dir", "-cd", "--experimental-rerun"), True),
}


def _flags_apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Flags and settings apart: Hydra wants the flags first, people put them anywhere."""
    from kd_runner.errors import SettingsError

    found: list[str] = []
    settings: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            settings.append(word)
            continue
        name = word.partition("=")[0]
        if name not in FLAGS:
            raise SettingsError(f"{name}: no such option{did_you_mean(name, FLAGS)}; see kd-runner --help")
        found.append(word)
        if FLAGS[name] and name == word:
            found += itertools.islice(rest, 1)  # its value
    return found, settings
