"""`kd-runner -m folds=5`: the one word that makes a job of each fold."""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.errors import SettingsError

FOLDS, FOLD = "folds", "fold"
MOST = 1000


def with_folds(words: Sequence[str], is_sweep: bool, asks_for_data: bool = False) -> list[str]:
    """The words of a command with those of its folds, unless it names some itself.

    Args:
        words: Flags and settings.
        asks_for_data: True for a command that only shows the data, which shows the first fold.

    Raises:
        SettingsError: several numbers of folds, or a run of one of them that does not say which.
    """
    values = {name: _value_of(name, words) for name in (FOLDS, FOLD)}
    folds = values[FOLDS]
    if folds in (None, "null", ""):
        return list(words)
    if not (folds.isascii() and folds.isdecimal() and 2 <= int(folds) <= MOST):
        raise SettingsError(f"{FOLDS}: must be one whole number from 2 to {MOST}, or null, got {folds}")
    if values[FOLD] is not None:
        return list(words)
    if asks_for_data:
        return [*words, f"{FOLD}=0"]
    if not is_sweep:
        raise SettingsError(
            f"{FOLD}: must be 0 to {int(folds) - 1} where {FOLDS}={folds}, or -m typed for a sweep over all folds "
            f"(kd-runner -m {FOLDS}={folds} …)"
        )
    # Those of a fold come after one another: the check of a sweep deals the images once for them.
    return [f"{FOLD}={','.join(map(str, range(int(folds))))}", *words]


def _value_of(name: str, words: Sequence[str]) -> str | None:
    """The value of a setting in the last of the words that has it; None where none has."""
    values = [word.partition("=")[2] for word in words if word.lstrip("+").partition("=")[0] == name]
    return values[-1] if values else None
