"""Output whose reader has seen enough and closed it, as `head` does."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def discard_output() -> None:
    """Let what is still printed go nowhere: the command goes on without a reader, and ends without a complaint."""
    with suppress(OSError, ValueError, io.UnsupportedOperation, AttributeError):  # a stream that is no file's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
