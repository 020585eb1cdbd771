"""A run's files that are elsewhere now: what to type, where the command that made the run finds them no more."""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.command_line.again import Again
from kd_runner.command_line.resume import key_of, words_beside
from kd_runner.config.fingerprint import WHERE_OF_TEACHERS, names_a_place


def where_they_are_now(message: str, words: Sequence[str], again: Again | None) -> str:
    """The setting to type where a file or folder of a run that goes on, or is made again, is not there.

    A relative path counts from where a command is started, and a folder may have been moved or copied.

    Args:
        message: The line that ended the command, which begins with the key.
        words: The words of the command line.
        again: The run that is made again, where one is.

    Returns:
        Nothing for another message, another command, or where the key was typed.
    """
    key, _, reason = message.partition(": ")
    if not reason.startswith("no ") or not names_a_place(key):
        return ""
    typed = list(words if again is None else again.changes)
    may_be_typed = again is not None or (words_beside([f"{key}=x"]) and "resume" in map(key_of, typed))
    if not may_be_typed or key in map(key_of, typed):
        return ""
    command = "kd-runner again" if again else "resume="
    sign = "+" if WHERE_OF_TEACHERS.fullmatch(key) else ""  # conf has no such key
    return f"; where that lies elsewhere now, type {sign}{key}=… beside {command}"
