"""Texts that others wrote, made safe where they leave: for a terminal, a log, a Markdown page and a spreadsheet.

Names of files, folders, classes and weights, values in YAML files and texts in results of others may hold escape
sequences that control a terminal, signs that turn or hide what is written, and line breaks that look like lines of
kd-runner. They are kept as they are in `result.json`, and escaped by the code that prints or writes them for people.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
import unicodedata
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

# Control characters; signs without width and those that turn the direction; halves of characters; line separators.
ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Letters and marks that fonts show as nothing.
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
COMPUTED = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # beginnings of formulas in spreadsheets
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Code, cells, tags, links, emphasis, deleted text, formulas and people's names; at a word's edge, numbers of issues and
# emphasis; at the beginning, quotes and lists; in addresses, what makes them links; and what would be read as a sign.
IN_MARKDOWN = re.compile(
    r"[\\`|<\[*~$@]|(?<!\w)#|(?<![^\W_])_+|_+(?![^\W_])|^>|^[+-](?=\s|$)|(?<=:)/(?=/)|(?<=\b(?i:www))\.|&(?=#?\w+;)"
)


class Lines(str):
    """A text of several lines whose breaks are kd-runner's own, made by `lines`: they stay when it is printed."""

    __slots__ = ()

    def __str__(self) -> Lines:
        return self  # so that it is still known in the message of an error


def lines(texts: Iterable[object]) -> Lines:
    """The texts below each other, each as `printable` shows it."""
    return Lines("\n".join(map(printable, texts)))


def printable(text: object, longest: int | None = None) -> str:
    r"""A text in one line, in which escape sequences and invisible signs are shown: `\x1b[31m`, `\u202e`, `\n`.

    Args:
        text: The text; of `Lines` the breaks stay.
        longest: The number of letters after which the text is cut; None for all.
    """
    text = str(text)
    if isinstance(text, Lines) and text:  # an empty text is split into itself
        return "\n".join(map(printable, text.split("\n")))
    if not (text.isascii() and text.isprintable()):
        text = "".join(_escape(letter) if _is_hidden(letter) else letter for letter in text)
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in ESCAPED or letter in INVISIBLE


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def markdown_text(text: object) -> str:
    """A text in one line of Markdown, in which nothing is markup: no cell ends, no code, link, emphasis or tag.

    Underscores inside of words, as in names of files, are none, and stay as they are.
    """
    return IN_MARKDOWN.sub(lambda found: "".join(f"\\{sign}" for sign in found[0]), printable(text))


def markdown_code(text: str, language: str = "") -> str:
    """Lines as a block of code in Markdown, which no line in them can end."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    content = "\n".join(map(printable, text.rstrip("\n").split("\n")))
    return f"{fence}{language}\n{content}\n{fence}"


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: a text that a spreadsheet would compute gets an apostrophe; numbers stay as they are.

    So do texts that are numbers, such as the classes -1 and +1: they compute nothing.
    """
    if not isinstance(value, str) or NUMBER.fullmatch(value):
        return value
    text = printable(value)
    begins = value.lstrip()[:1]
    return f"'{text}" if begins in COMPUTED or value[:1] in ("\t", "\r", "\n") else text


class PlainFormatter(logging.Formatter):
    """Formats log records; what others wrote in their values, their text or their error is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        shown = logging.makeLogRecord(record.__dict__)
        if shown.exc_info:
            shown.exc_text = None  # another formatter may have made it
        shown.args = plain_arguments(shown.args)
        return _plain_lines(super().format(shown))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        return _plain_lines(super().formatException(ei))


def plain_arguments(arguments: Any) -> Any:
    """The arguments of a log record with each text in one line."""
    if isinstance(arguments, Mapping):
        return {key: _plain_value(value) for key, value in arguments.items()}
    return tuple(map(_plain_value, arguments)) if arguments else arguments


def _plain_value(value: object) -> object:
    return value if isinstance(value, (int, float)) else printable(value)


def _plain_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def exception_text(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> str:
    """The text of an error as Python prints it, without what its message would do to a terminal."""
    return _plain_lines("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"))


def print_exception(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    """Print an error that nothing caught, as Python does, without what its message would do to the terminal."""
    print(exception_text(kind, error, trace), file=sys.stderr)
