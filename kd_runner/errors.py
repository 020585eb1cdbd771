"""Errors that end a command early, in one line for the person who typed it, and the exit codes."""

from __future__ import annotations

from kd_runner.plain_text import printable


def one_line(error: BaseException) -> str:
    """The error's text without line breaks and control characters, or its type's name where it has none."""
    return printable(" ".join(str(error).split())) or type(error).__name__


class SettingsError(ValueError):
    """A setting, file or data set that cannot work; the message is one line for the person who typed it."""


class Answer(Exception):
    """The answer to a question that a command asks instead of starting a run; the message is the answer."""


class RunFailed(RuntimeError):
    """A run that started well and cannot be finished; the message is one line."""


COMPLETED, FAILED, BAD_SETTINGS, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def exit_code_of(error: BaseException) -> int | None:
    """The exit code for an error that the person can mend; None for a mistake of ours."""
    if isinstance(error, SettingsError):
        return BAD_SETTINGS
    return FAILED if isinstance(error, RunFailed) else None
