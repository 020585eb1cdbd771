"""Tab completion: what a shell may put in place of the word that is being typed.

Hydra knows the settings and the options of groups. It knows no commands, no lists such as `distillation=soft,dkd`, and
ends at a word that it cannot read, in the middle of what a person types; the shell is told nothing then.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from kd_runner.command_line.again import AGAIN
from kd_runner.command_line.command_help import COMMANDS
from kd_runner.command_line.explain import HELP
from kd_runner.command_line.flags import CONFIG_DIR, FLAGS, SWEEP_FLAGS
from kd_runner.command_line.key_names import groups
from kd_runner.command_line.new_parts import GROUPS, NEW
from kd_runner.files.home import with_home

COMPLETION_FLAGS = ("-sc", "--shell-completion")
LINE = "COMP_LINE"  # the environment variable in which a shell hands over the command line
POINT = "COMP_POINT"  # and that for the cursor in it, counted in bytes
FIRST_WORDS = [name for name in COMMANDS if name != "resume"]
SECOND_WORDS = {"store": ["list", "verify", "prune"], NEW: list(GROUPS)}
VALUES_OF_FLAGS = {"--cfg": ["job", "hydra", "all"], "-c": ["job", "hydra", "all"]}
QUOTES = "'\""
# A word that may change which settings there are: the option of a group, or the first of several.
OPTION = re.compile(r"(\+?[\w/@]+=)\[?(\w+)")


def asks_for_completions(words: Sequence[str]) -> bool:
    """True for the command that a shell types, such as `kd-runner -sc query=bash`."""
    return len(words) == 2 and words[0] in COMPLETION_FLAGS and words[1].startswith("query=")


def completions(line: str, ask_hydra: Callable[[], None]) -> list[str]:
    """The words that may stand in place of the last one of a command line; none where files may.

    Of a word in an opening quote, it is what stands behind the quote: a shell leaves that in its place.

    Args:
        line: The command line up to the cursor.
        ask_hydra: Prints what Hydra knows of the command line in the environment.
    """
    words = [word.strip(QUOTES) for word in line.split()] or [""]
    current = "" if line.endswith(" ") else words.pop() if len(words) > 1 else ""
    before = words[1:]
    command = before[0] if before and before[0] in FIRST_WORDS else None
    if before and before[-1] in FLAGS and FLAGS[before[-1]] and command is None:
        return _beginning(VALUES_OF_FLAGS.get(before[-1], []), current)
    if current.startswith("-"):  # of kd-runner itself: commands have flags of their own
        names = [] if command else [flag for flag in FLAGS if flag.startswith("--") or flag == current]
        return _beginning(names, current)
    if command == HELP:
        found = [word.rstrip("=.") for word in [*_of_hydra([], current, ask_hydra), *_beginning(FIRST_WORDS, current)]]
        return sorted(set(found))
    if command is not None and not (command == AGAIN and len(before) > 1):
        return _beginning(SECOND_WORDS.get(command, []), current) if len(before) == 1 else []
    first = [] if before else _beginning(FIRST_WORDS, current)
    return sorted({*first, *_of_hydra(before, current, ask_hydra)})


def _beginning(words: Sequence[str], current: str) -> list[str]:
    return sorted(word for word in words if word.startswith(current))


def _of_hydra(before: Sequence[str], current: str, ask_hydra: Callable[[], None]) -> list[str]:
    """The settings and options that Hydra knows to go on with; the last of several options is completed.

    Args:
        before: The words in front of the current one.
    """
    key, sign, value = current.partition("=")
    start = max(value.rfind(","), value.rfind("[")) + 1 if key in groups() else 0
    asked = f"{key}{sign}{value[start:]}"
    os.environ[LINE] = " ".join(["kd-runner", *_words_that_choose(before), asked])
    output = io.StringIO()
    with suppress(Exception, SystemExit), redirect_stdout(output), redirect_stderr(io.StringIO()):
        ask_hydra()
    answers = output.getvalue().split()
    if value[start : start + 1] in ("/", "."):  # Hydra cuts the names of files at blanks: pieces are no words to type
        answers = [word for word in answers if word.startswith(f"{key}=") and Path(word.partition("=")[2]).exists()]
    found = [f"{word}=" if word in groups() else word for word in answers]
    return [f"{key}={value[:start]}{word.partition('=')[2]}" for word in found] if start else found


def _words_that_choose(words: Sequence[str]) -> list[str]:
    """The words that may change which settings there are, the flag of a sweep first, in a form that Hydra can read."""
    chosen = [match[1] + match[2] for match in map(OPTION.match, words) if match]
    flags = [word for word in words if word in SWEEP_FLAGS]
    return [*flags, *(word for word in chosen if word.lstrip("+").partition("=")[0] in groups())]


def _own_folder(words: Sequence[str]) -> list[str]:
    """The flag for the folder of own options, which Hydra reads from its command and not from that of the person."""
    pairs = [f"{flag}={folder}" for flag, folder in itertools.pairwise(words) if flag in CONFIG_DIR]
    joined = [word for word in words if word.startswith(tuple(f"{flag}=" for flag in CONFIG_DIR))]
    return [word.replace("=~/", f"={with_home('~')}/", 1) for word in [*pairs, *joined]][-1:]


def print_completions(words: Sequence[str], ask_hydra: Callable[[], None]) -> None:
    """Answer the command of a shell.

    Args:
        words: The command, as in `asks_for_completions`.
        ask_hydra: The same as for `completions`.
    """
    line, point = os.environ.get(LINE, ""), os.environ.get(POINT, "")
    if point.isdecimal():
        line = line.encode()[: int(point)].decode(errors="ignore")
    sys.argv[1:] = [*_own_folder(line.split()), *words]
    print(("\n" if words[1].endswith("fish") else " ").join(completions(line, ask_hydra)))
