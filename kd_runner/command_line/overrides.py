"""Overrides as people type them: sums of modes, lists of values, keys without effect."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNDECISIVE = ("resume=", "store=", "trust=", "tracking.", "hydra.", "hydra/")  # words that do not say what is run


def split(words: str) -> list[str]:
    """Overrides that were joined with spaces, which their values may have, too."""
    return re.split(r" (?=[+~]*[\w./@]+=)", words)


def _sum_of_modes(word: str) -> list[str]:
    """`distillation=[a,b]` as Hydra says it: the mode a, and b under its own name in `plus`."""
    several = re.fullmatch(r"distillation=\[([\w\s,]*)\]", word)
    if several is None:
        return [word]
    modes = [name.strip() for name in several[1].split(",") if name.strip()]
    if not modes or len(set(modes)) < len(modes):
        from kd_runner.errors import SettingsError

        raise SettingsError(f"distillation: must name one mode or more, each once, got {word.partition('=')[2]}")
    return [f"distillation={modes[0]}", *(f"+distillation@plus.{name}={name}" for name in modes[1:])]


def _check_overrides(overrides: Sequence[str]) -> None:
    """A setting that would be ignored is an error."""
    from kd_runner.errors import SettingsError

    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if re.fullmatch(r"plus\.[^.]+\.label_weight", key):
            raise SettingsError(f"{key}: has no effect; the labels' weight is distillation.label_weight, got {word}")
