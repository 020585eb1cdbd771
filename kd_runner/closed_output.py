"""Output whose reader has seen enough and closed it, as `head` does."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec

Arguments = ParamSpec("Arguments")


def discard_output() -> None:
    """Let what is still printed go nowhere: the command goes on without a reader, and ends without a complaint."""
    with suppress(OSError, ValueError, io.UnsupportedOperation, AttributeError):  # a stream that is no file's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


def answer(text: str) -> None:
    """Print what a command was asked for; it is done as well where nobody reads it to its end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()


class Parser(argparse.ArgumentParser):
    """A parser whose help is an answer. Python's own differ where nobody reads it: 3.11.2 raises, 3.11.7 does not."""

    def print_help(self, file: Any = None) -> None:
        if file is None:
            answer(self.format_help().removesuffix("\n"))
        else:
            super().print_help(file)


def may_be_closed(command: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """A command that ends with code 1, and without a complaint, where nobody reads what it prints any more."""

    @wraps(command)
    def run_command(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        try:
            try:
                return command(*args, **kwargs)
            finally:  # what is printed is in a buffer, also where argparse ends the program
                sys.stdout.flush()
        except BrokenPipeError:
            discard_output()
            return 1

    return run_command
