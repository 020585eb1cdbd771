"""Values with signs that Hydra's grammar does not take bare, such as a folder's name with brackets, in quotes."""

from __future__ import annotations

import os
import re
import unicodedata

from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from kd_runner.command_line.typed_words import parsed_override
from kd_runner.config.fingerprint import names_a_place

KEY = re.compile(r"\+{0,2}[\w./@-]+", re.ASCII)
PLAIN = re.compile(r"[\w/.:+-]*", re.ASCII)  # a value that Hydra takes as it is
SIGNS = frozenset(" /.:+-_%@*?|^$\\")  # in a bare value Hydra takes these beside letters and digits
IN_QUOTES = re.compile(r"(['\"]).*\1", re.DOTALL)
CALL = re.compile(r"\w+\(")  # a sweep such as choice(…)
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
# Lists of texts, for which 3 is the text 3.
MAY_BE_NUMBERS = re.compile(
    r"(student|assistants\.[^.]+)\.without_classes|(teacher|teachers\.[^.]+)\.classes|tags", re.ASCII
)
TEXTS = ("dataset.may_lead_to", "dataset.class_names")  # beside the paths: texts, for which a number is an error
TO_BE_WRITTEN = ("dataset.cache", "store")  # places that need not be there: `false` is meant as no place
PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\"']", re.DOTALL)  # a text in quotes, or one sign


def quoted_text(text: str) -> str:
    """The text in double quotes, as Hydra reads it."""
    return QuotedString(text=text, quote=Quote.double).with_quotes()


def with_quotes(word: str) -> str:
    """The word with its value in quotes where Hydra cannot read it bare, and where it is beyond doubt what is meant.

    That is a path, of a setting that is one or one that is there, or a text of letters, also of other alphabets, in
    each part of a list or a sweep. What Hydra reads stays, but for the path of a setting that is there with its commas.
    """
    key, is_setting, value = word.partition("=")
    if not is_setting or not KEY.fullmatch(key) or PLAIN.fullmatch(value) or IN_QUOTES.fullmatch(value):
        return word
    if "${" in value:
        return word
    is_path, is_there, parts = _is_path(key), _is_there(value), _without_brackets(value).split(",")
    override = _read(word)
    if override is not None:
        read = override.value()
        if override.is_sweep_override():
            is_one = is_path and not all(map(_is_there, parts))
        else:
            is_one = read != value and (is_path or isinstance(read, str))
        return f"{key}={quoted_text(value)}" if is_there and is_one else word
    if value != value.strip() and not is_there:
        return word
    if is_there or (is_path and len(parts) == 1 and value[0] not in "[{" and not CALL.match(value)):
        return f"{key}={quoted_text(value)}"
    return f"{key}={_with_quoted_parts(value)}" if all(_is_text(part) or _is_there(part) for part in parts) else word


def with_quoted_numbers(word: str) -> str:
    """The word with each part in quotes that is a text for its setting, and that Hydra reads as something else.

    A folder may be called 2024, 1e3 or true, and a class +1, which Hydra reads as 1. `null` is nothing, except in a
    list, and so is `false` for a place that is yet to be made.
    """
    key, is_setting, value = word.partition("=")
    name = key.lstrip("+")
    is_text = _is_path(key) or name in TEXTS
    if not is_setting or not (is_text or MAY_BE_NUMBERS.fullmatch(name)):
        return word

    def with_quotes_inside(parts: list[str], in_list: bool) -> str:
        return ",".join(quoted_part(part, in_list) for part in parts)

    def quoted_part(part: str, in_list: bool) -> str:
        text = part.strip()
        if _is_in_brackets(text):
            inside = _parts(text[1:-1])
            return part if inside is None else f"[{with_quotes_inside(inside, True)}]"
        override = None if text[:1] in ("", '"', "'") else _read(f"key={text}")
        read = text if override is None else override.value()
        is_meant = isinstance(read, str) or (not in_list and _is_nothing(read, name))
        is_same = not is_text and type(read) is int and str(read) == text
        return part if is_meant or is_same else quoted_text(text)

    parts = _parts(value)
    return word if parts is None else f"{key}={with_quotes_inside(parts, False)}"


def _is_nothing(read: object, name: str) -> bool:
    """True for what says that the setting of this name has no value."""
    return read is None or (isinstance(read, bool) and name in TO_BE_WRITTEN)


def _parts(value: str) -> list[str] | None:
    """The parts between commas outside of quotes and brackets; None for a call, a dictionary, or a lone bracket."""
    parts, depth = [""], 0
    while value:
        piece = PIECE.match(value)
        if piece is None or piece[0] in ("{", "}", "(", ")"):
            return None
        value = value[piece.end() :]
        depth += {"[": 1, "]": -1}.get(piece[0], 0)
        if depth < 0:
            return None
        if piece[0] == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece[0]
    return parts if depth == 0 else None


def quoted_word(word: str) -> str | None:
    """The word that gives Hydra the typed value, as a text or a list of texts; None where something else is meant."""
    key, is_setting, value = word.partition("=")
    is_list = _is_in_brackets(value)
    if not is_setting or not KEY.fullmatch(key) or CALL.match(value) or (value[:1] in ("[", "{") and not is_list):
        return None
    typed = f"{key}={_with_quoted_parts(value) if is_list else quoted_text(value)}"
    return None if _read(typed) is None else typed


def _with_quoted_parts(value: str) -> str:
    """The list, or the values of a sweep, with those parts in quotes that Hydra does not take bare."""
    texts = [part.strip() for part in _without_brackets(value).split(",")]
    parts = [text if _read(f"key={text}") is not None else quoted_text(text) for text in texts]
    return f"[{','.join(parts)}]" if _is_in_brackets(value) else ",".join(parts)


def _is_in_brackets(value: str) -> bool:
    return len(value) > 1 and value.startswith("[") and value.endswith("]")


def _without_brackets(value: str) -> str:
    """The inside of a list; a bracket without its partner stays."""
    return value[1:-1] if _is_in_brackets(value) else value


def _read(word: str) -> Override | None:
    try:
        return parsed_override(word)
    except HydraException:
        return None


def _is_path(key: str) -> bool:
    name = key.lstrip("+")
    return names_a_place(name) or name in FOLDERS


def _is_there(path: str) -> bool:
    return bool(path) and os.path.exists(os.path.expanduser(path))  # noqa: PTH110, PTH111 (no error for odd names)


def _is_text(part: str) -> bool:
    """True for letters, marks and digits of any alphabet, with signs that stand in a bare value."""
    return bool(part.strip()) and all(sign in SIGNS or unicodedata.category(sign)[0] in "LMN" for sign in part)
