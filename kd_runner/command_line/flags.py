"""Hydra's flags, told apart from settings."""

from __future__ import annotations

import itertools
import shlex

from kd_runner.command_line.key_names import is_key
from kd_runner.errors import SettingsError
from kd_runner.foreign_words import answer_for
from kd_runner.suggestions import did_you_mean

CONFIG_DIR = ("--config-dir", "-cd")  # a folder of a person's own options
# Hydra's flags, each with True where a value follows.
FLAGS = {
    **dict.fromkeys(("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"), False),
    **dict.fromkeys(("--multirun", "-m", "--shell-completion", "-sc", "--info", "-i"), False),
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), True),
    **dict.fromkeys(CONFIG_DIR, True),
}  # Hydra's --experimental-rerun is left out: it unpickles a run's file, which runs the code in it; there is resume=
SHORTEST = 2  # letters of a flag such as -x, which stands for no setting
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
            raise SettingsError(f"{name}: no such option{_meant(word, next(remaining, ''))}")
        flags.append(word)
        if FLAGS[name] and name == word:
            flags += itertools.islice(remaining, 1)  # its value
    return flags, settings


def _meant(word: str, following: str) -> str:
    """The end of a message about an unknown flag: the setting that it is here, or the nearest flag.

    Args:
        word: The flag, perhaps with its value behind '='.
        following: The word behind it, which may be its value.
    """
    name, _, value = word.partition("=")
    is_value = not following.startswith("-") and "=" not in following
    value = value or (following if is_value else "")
    plain = name.lstrip("-")
    forms = (plain, plain.replace("-", "_"), plain.replace("-", ".", 1).replace("-", "_"))
    key = next((form for form in forms if len(name) > SHORTEST and is_key(form)), None)
    if key:
        typed = shlex.quote(f"{key}={value}") if value else f"{key}=…"
        return f"; settings are typed without dashes, as KEY=VALUE: type {typed}"
    answer = answer_for(name, value) if len(name) > SHORTEST else None
    if answer:
        return f"; settings are typed without dashes, as KEY=VALUE: {answer}"
    return f"{did_you_mean(name, FLAGS)}; see kd-runner --help"
