"""Handlers of the log that a full disk does not disturb: they say once that they end, and the run goes on."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kd_runner.closed_output import discard_output

if TYPE_CHECKING:
    Stream = logging.StreamHandler[Any]
else:
    Stream = logging.StreamHandler  # before Python 3.11, it takes no type in brackets


class LogFile(logging.FileHandler):
    """The file of a run's log. Where it cannot be written, the run goes on without it."""

    def __init__(self, filename: str, mode: str = "a", encoding: str = "utf-8", delay: bool = False) -> None:
        self.has_ended = False
        super().__init__(filename, mode, encoding, delay=True)
        if not delay:
            try:
                self.stream = self._open()
            except OSError as error:
                self._end(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless an earlier one could not be written."""
        if self.has_ended:
            return
        try:
            super().emit(record)
        except OSError as error:  # the file cannot be opened
            self._end(error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Called in the place of an error in `emit`."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._end(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the file, whose last lines a full disk may not take."""
        with suppress(OSError):
            super().close()

    def _end(self, error: OSError) -> None:
        self.has_ended = True
        with suppress(OSError, ValueError):
            reason = error.strerror or error
            print(
                f"kd-runner: note: {self.baseFilename} cannot be written ({reason}); the run goes on without it",
                file=sys.stderr,
            )
        self.close()


class Console(Stream):
    """The terminal, or what stands in its place. Where it takes no more, the run goes on without it."""

    has_ended = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless an earlier one could not be written."""
        if not self.has_ended:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line, with `?` for letters that the terminal cannot print."""
        text, encoding = super().format(record), getattr(self.stream, "encoding", None)
        return text.encode(encoding, "replace").decode(encoding) if encoding else text

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Called in the place of an error in `emit`."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.has_ended = True
        if isinstance(error, BrokenPipeError):
            discard_output()
        else:
            with suppress(OSError, ValueError):
                print(f"kd-runner: note: what is printed cannot be written ({error.strerror})", file=sys.stderr)
