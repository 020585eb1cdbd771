"""The common parts of the commands for a stored student: messages, exit codes, devices, progress and output files.

Imports no torch, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kd_runner.closed_output import discard_output
from kd_runner.deploy.model_files import NETWORKS
from kd_runner.errors import (
    FAILED,
    INTERRUPTED,
    TERMINATED,
    RunFailed,
    SettingsError,
    exit_code_of,
    one_line,
)
from kd_runner.files import atomic
from kd_runner.files.disk import FULL, refusal
from kd_runner.files.home import typed_path
from kd_runner.plain_text import printable
from kd_runner.terminal import is_terminal

PIPED_WIDTH = 120  # columns of a table that goes to no terminal
FORMATS = ("table", "json", "csv")
MAX_PIXELS = 100_000_000  # of one file


class _Notes(logging.Handler):
    """Prints notes to standard error, each in one line with the command's name."""

    def __init__(self, command: str) -> None:
        super().__init__(logging.WARNING)
        self.command = command

    def emit(self, record: logging.LogRecord) -> None:
        say(self.command, f"note: {' '.join(record.getMessage().split()[1:])}")  # without the note's topic


def say(command: str, message: object) -> None:
    """Print a message for the person who typed the command, on standard error."""
    for line in printable(message).split("\n"):
        print(f"{command}: {line}", file=sys.stderr)


def run_command(command: str, function: Callable[[], int]) -> int:
    """The exit code of `function`; its errors are printed in one line.

    0: done. 1: done, except for files that cannot be read; or it could not be finished. 2: a word of the command, a
    file of weights or a folder cannot work. 130: Ctrl-C. 143: terminated.
    """
    try:
        with _terminable(), notes_printed(command):
            code = function()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say(command, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        discard_output()
        return FAILED
    except Exception as error:
        return _exit_code_after(command, error)


def _exit_code_after(command: str, error: Exception) -> int:
    """The exit code of a command that `error` ended; prints it in one line, or raises a bug of ours again."""
    code = exit_code_of(error)
    if code is None and isinstance(error, OSError):
        if error.filename is None and error.errno in FULL:  # what is printed, as a file that cannot be written is named
            say(command, f"what is printed cannot be written ({error.strerror})")
        else:
            say(command, refusal(error) or one_line(error))
        return FAILED
    if code is None and type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        say(command, "the device has too little memory: choose fewer images with --batch-size, or --device cpu")
        return FAILED
    if code is None:
        raise error
    say(command, in_words_of_commands(str(error)))
    return code


def in_words_of_commands(message: str) -> str:
    """A message about a run's settings, or of a function, as the words of a command have it: `--trust X`."""
    return re.sub(r"^network: ", "--network: ", re.sub(r"\btrust=\[(\w+)\]", r"--trust \1", message))


@contextmanager
def _terminable() -> Iterator[None]:
    """During the block, a signal to terminate ends it, so that no file is left half written."""
    if threading.current_thread() is not threading.main_thread():  # no other thread may set a handler
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)


@contextmanager
def notes_printed(command: str) -> Iterator[None]:
    """During the block, notes are printed to standard error."""
    logger, handler = logging.getLogger("kd_runner"), _Notes(command)
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def whole_number(text: str) -> int:
    """A whole number of 1 or more, as an argument of a command."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text}")
    return int(text)


def add_shared_arguments(parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """The arguments that all commands have which give images to a network."""
    parser.add_argument("--format", choices=formats, help="default: that of --output's suffix, else table")
    parser.add_argument("--output", type=typed_path, metavar="FILE", help="write to this new file, not to the terminal")
    parser.add_argument(
        "--batch-size", type=whole_number, metavar="N", help="images that go through the network at once"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (default: a GPU where there is one)")
    parser.add_argument("--workers", type=whole_number, metavar="N", help="threads that read files (default: the CPUs)")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="your package that the file names a network of"
    )
    parser.add_argument(
        "--max-pixels", type=whole_number, default=MAX_PIXELS, metavar="N", help="of one file (default: 100 million)"
    )


def add_network_argument(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The argument that chooses a network of a run; `several`: it may be repeated, and without it all are meant."""
    default = "all" if several else f"{NETWORKS[0]}, after its last epoch"
    action, more = ("append", ", may be repeated") if several else ("store", "")
    parser.add_argument("--network", action=action, choices=NETWORKS, help=f"of a run{more} (default: {default})")


def trust_packages(packages: Sequence[str]) -> None:
    """Have Python look for a person's own packages in the current folder, where they often lie; for none, do not."""
    if packages:
        sys.path.insert(0, str(Path.cwd()))


def chosen_format(arguments: argparse.Namespace, formats: Sequence[str] = FORMATS) -> str:
    """The format of the output: the typed one, else that of the output file's suffix.

    Raises:
        SettingsError: the suffix is that of a format that the command does not write.
    """
    suffix = arguments.output.suffix.lower().removeprefix(".") if arguments.output else ""
    if arguments.format is None and suffix in FORMATS and suffix not in formats:
        raise SettingsError(f"--output: must end in .json, or in .txt for a table, got {arguments.output}")
    return arguments.format or (suffix if suffix in formats else "table")


def check_output(path: Path | None) -> None:
    """Refuse an output file that is there already, or cannot be written, before anything is computed.

    Raises:
        SettingsError: the message names it.
    """
    if path is None:
        return
    if path.exists() or path.is_symlink():
        raise SettingsError(f"--output: {path} is there already: choose another name, or delete it")
    if not path.parent.is_dir():
        raise SettingsError(f"--output: no folder {path.parent.resolve()}")
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"--output: {path.parent.resolve()} cannot be written")


def deliver(text: str, path: Path | None) -> None:
    """Print the output of a command, or write it to the file `path`, whole or not at all."""
    if path is None:
        sys.stdout.write(text)
        return
    try:
        atomic.write(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise RunFailed(f"{path} cannot be written ({error.strerror or error})") from error


def table_width(path: Path | None) -> int:
    """The number of columns of a table: those of the terminal; 120 for a file or a pipe."""
    return Console().width if path is None and is_terminal() else PIPED_WIDTH


def device_called(name: str) -> Any:
    """The `torch.device` of that name.

    Raises:
        SettingsError: there is no such device here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(f"--device: {name} cannot be used here ({one_line(error).partition('. ')[0]})") from None
    if device.type == "meta":
        raise SettingsError("--device: must be a device that computes, such as cpu or cuda, got meta")
    return device


@contextmanager
def progress(total: int, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error where that is a terminal; gives a function that moves it on."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
