"""Errors that end a command early, in one line for the person who typed it, and the exit codes."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from kd_runner.plain_text import exception_text, printable

FULL_ERROR = "HYDRA_FULL_ERROR"  # 1 in the environment: the traceback is printed, too, as Hydra's users know it
# Says to this process and to those that it starts that kd-runner has set FULL_ERROR, and not the person.
ONE_LINE = "_KD_RUNNER_ONE_LINE"
INSTALLED = {"site-packages", "dist-packages"}
LIBRARIES = tuple({str(Path(__file__).parent), *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))})


def one_line(error: BaseException) -> str:
    """The error's text without line breaks and control characters, or its type's name where it has none."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def code_error(error: BaseException) -> str:
    """An error of anyone's code in one line: its type, its text, and the place in the person's own code.

    A ValueError that no code of the person's took part in is a message of ours or of a library, and stands alone.
    """
    frame = own_frame(error)
    if frame is None and isinstance(error, ValueError):
        return one_line(error)
    frame = frame or next(iter(reversed(traceback.extract_tb(error.__traceback__))), None)
    text, kind = one_line(error), type(error).__name__
    location = "" if frame is None else _place_of(frame)
    return f"{text if text == kind else f'{kind}: {text}'}{location}"


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The last place of an error's traceback in code of neither kd-runner, Python nor an installed package."""
    frames = (frame for frame in traceback.extract_tb(error.__traceback__) if not _is_of_a_library(frame.filename))
    return next(iter(reversed(list(frames))), None)


def _is_of_a_library(file: str) -> bool:
    is_generated = file.startswith("<") and not file.startswith("<ipython-input")
    path = Path(file)
    return is_generated or bool(INSTALLED & set(path.parts)) or any(path.is_relative_to(root) for root in LIBRARIES)


def raise_errors_of_hydra() -> None:
    """Have Hydra raise its errors instead of printing them, and remember whether the person wants tracebacks."""
    if os.environ.get(FULL_ERROR) != "1":
        os.environ[ONE_LINE] = "1"
    os.environ[FULL_ERROR] = "1"


def traceback_of(error: BaseException) -> str:
    """The tracebacks of the errors that one of ours was raised from; empty unless HYDRA_FULL_ERROR=1 was set."""
    causes = list(_causes(error))
    if not causes or os.environ.get(FULL_ERROR) != "1" or ONE_LINE in os.environ:
        return ""
    return exception_text(type(causes[-1]), causes[-1], causes[-1].__traceback__)


def traceback_remedy(error: BaseException) -> str:
    """The end of a message that names a place in the person's own code, which says how to see more; else empty."""
    causes = list(_causes(error))
    frame = own_frame(causes[-1]) if causes and ONE_LINE in os.environ else None
    is_named = frame is not None and _place_of(frame) in str(error)
    return f"; {FULL_ERROR}=1 in front of the command shows the traceback" if is_named else ""


def _place_of(frame: traceback.FrameSummary) -> str:
    return f" ({printable(frame.filename)}:{frame.lineno}, in {printable(frame.name)})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


class SettingsError(ValueError):
    """A setting, file or data set that cannot work; the message is one line for the person who typed it."""


class Answer(Exception):
    """The answer to a question that a command asks instead of starting a run; the message is the answer."""


class RunFailed(RuntimeError):
    """A run that started well and cannot be finished; the message is one line."""


class LossNotFinite(RunFailed):
    """A training whose loss has become infinite or no number: with the same settings it does so each time."""


COMPLETED, FAILED, BAD_SETTINGS, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def exit_code_of(error: BaseException) -> int | None:
    """The exit code for an error that the person can mend; None for a mistake of ours."""
    if isinstance(error, SettingsError):
        return BAD_SETTINGS
    return FAILED if isinstance(error, RunFailed) else None
