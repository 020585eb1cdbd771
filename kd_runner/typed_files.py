"""The files of class names that a person typed: only these may lie outside of the data set's folder.

What a class is called ends in weights, reports and cards that are handed on. So a `class_names` in a file of somebody
else, or in the record of a run, reads no file of the person's own. The environment hands on what was typed: to the jobs
of a sweep, to the processes of a run, and to those that check its jobs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

CLASS_NAMES = "dataset.class_names"
TYPED = "KD_RUNNER_CLASS_NAMES"  # the paths, one in a line
EXPRESSION = re.compile(r"\$\{oc\.env:(\w+)(?:,(.*))?\}")


def remember_typed(words: Iterable[str]) -> None:
    """Remember each file of class names in the words of a command line that a person typed."""
    for word in words:
        key, equals, value = word.lstrip("+").partition("=")
        if not equals or key != CLASS_NAMES:
            continue
        # Of a sweep, each choice is one.
        for path in {value, *value.split(",")}:
            text = path.strip().strip("'\"").replace("\\", "")
            if expression := EXPRESSION.fullmatch(text):
                text = os.environ.get(expression[1], expression[2] or "")
            # Words that a folder recorded are among those of a sweep's jobs; none of them leads out.
            if leads_out(text) and not is_typed(text):
                os.environ[TYPED] = "\n".join([*_typed(), text])


def is_typed(path: str) -> bool:
    """True for a file of class names that a person typed."""
    return os.path.expanduser(path) in map(os.path.expanduser, _typed())  # noqa: PTH111


def leads_out(path: str) -> bool:
    """True for a path that does not stay in the folder that it starts from, links aside; an expression may not."""
    return path.startswith(("~", "/", "\\")) or ".." in re.split(r"[/\\]", path) or "$" in path or ":" in path


def _typed() -> list[str]:
    return os.environ.get(TYPED, "").split("\n") if os.environ.get(TYPED) else []
