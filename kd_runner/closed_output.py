"""Output that takes no more (its reader has closed it, or it was never open), or that cannot print all letters."""

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


def prepare_output() -> None:
    """Have everything that is printed go somewhere: what is closed goes nowhere, and letters that fail become `?`.

    Where a program is started with closed output, as some daemons do, the next file that it opens would take the
    number of the output, and get what others print.
    """
    opened = {number for number in (0, 1, 2) if _open_if_closed(number)}
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            place: int | str = number if number in opened else os.devnull
            stream = open(place, "w", encoding="utf-8", errors="replace", closefd=place == os.devnull)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        elif isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):  # it is closed, or what is in its buffer cannot be written
                stream.reconfigure(errors="replace")


def _open_if_closed(number: int) -> bool:
    """True where there was no open file of this number; then it is one that takes everything and gives nothing."""
    with suppress(OSError):
        os.fstat(number)
        return False
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)
    return True


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
    """A command that ends with code 1, and without a complaint, where nobody reads what it prints any more.

    It is as good as without one where its output was closed before it began, or cannot print all letters.
    """

    @wraps(command)
    def run_command(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        prepare_output()
        try:
            try:
                return command(*args, **kwargs)
            finally:  # what is printed is in a buffer, also where argparse ends the program
                sys.stdout.flush()
        except BrokenPipeError:
            discard_output()
            return 1

    return run_command
