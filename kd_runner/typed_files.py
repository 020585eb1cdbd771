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
        for text in _choices(value):
            # Words that a folder recorded are among those of a sweep's jobs; none of them leads out.
            if leads_out(text) and not is_typed(text):
                os.environ[TYPED] = "\n".join([*_typed_paths(), text])


def is_typed(path: str) -> bool:
    """True for a file of class names that a person typed."""
    return os.path.expanduser(path) in map(os.path.expanduser, _typed_paths())  # noqa: PTH111


def are_typed(value: str) -> bool:
    """True for a value of `dataset.class_names` whose files a person typed, as far as they lead out."""
    return all(map(is_typed, filter(leads_out, _choices(value))))


def typed_variable() -> dict[str, str]:
    """The variable that hands on what was typed, for processes that do not inherit it; empty where nothing was."""
    return {TYPED: os.environ[TYPED]} if os.environ.get(TYPED) else {}


def _choices(value: str) -> set[str]:
    """The paths that a word's value may be: of a sweep, each choice is one."""
    texts = {path.strip().strip("'\"").replace("\\", "") for path in (value, *value.split(","))}
    expressions = {text: EXPRESSION.fullmatch(text) for text in texts}
    return {os.environ.get(match[1], match[2] or "") if match else text for text, match in expressions.items()}


def leads_out(path: str) -> bool:
    """True for a path that does not stay in the folder that it starts from, links aside; an expression may not."""
    return path.startswith(("~", "/", "\\")) or ".." in re.split(r"[/\\]", path) or "$" in path or ":" in path


def _typed_paths() -> list[str]:
    return os.environ.get(TYPED, "").split("\n") if os.environ.get(TYPED) else []
