"""Words that a person types for people, and paths with ~, as Hydra's grammar wants them."""

from __future__ import annotations

import re

from kd_runner.command_line.quoted_values import quoted_text, with_quoted_numbers, with_quotes
from kd_runner.files.home import refuse_without_home, with_home

HOME = re.compile(r"(?P<before>(?:=|,|\[|file://)\s*)(?P<quote>['\"]?)~(?=[/,\]'\"]|$)")
PLAIN = re.compile(r"[\w/.+-]*")  # a path that Hydra reads without quotes
TEXTS = ("name", "notes")
TAGS = "tags"
RESUME = "resume"


def as_hydra_reads_it(word: str) -> str:
    """The word with ~ as the home folder, and in quotes what must stand in them; `resume` without +."""
    key, is_setting, value = word.partition("=")
    if not is_setting or (word.startswith("-") and not word.startswith("--config-")):
        return word
    name = key.removeprefix("++").removeprefix("+")
    if name == RESUME:  # what `resume=FOLDER` stands for is looked up before Hydra reads it
        return _with_home(f"{name}={value}")
    if name in TEXTS:
        return f"{name}={_quote(value)}"
    if name == TAGS:
        return with_quoted_numbers(f"{name}={_list(value)}")
    return with_quoted_numbers(with_quotes(_with_home(word)))


def _quote(value: str) -> str:
    """A text in quotes, unless it has quotes already or is nothing at all."""
    if value in ("", "null") or re.fullmatch(r"(['\"]).*\1", value, re.DOTALL):
        return value
    return quoted_text(value)


def _list(value: str) -> str:
    """The tags as a list: `tags=first` and `tags=first,small` stand for one."""
    if value in ("", "null") or value.startswith(("[", "${")):
        return value
    return f"[{','.join(_quote(part.strip()) for part in value.split(','))}]"


def _with_home(word: str) -> str:
    """The word with each ~ at the beginning of a path as the home folder; shells put it there only for some words."""
    if HOME.search(word) is None:
        return word
    key, _, value = word.partition("=")
    refuse_without_home(value if value.startswith("~/") else "~", key.lstrip("+"))
    home = str(with_home("~"))
    if PLAIN.fullmatch(home):
        return HOME.sub(lambda match: f"{match['before']}{match['quote']}{home}", word)
    return re.sub(rf"{HOME.pattern}([^,\]'\"]*)['\"]?", lambda match: f'{match["before"]}"{home}{match[3]}"', word)
