"""Values from the environment, which are hidden wherever something is written, logged or printed.

A value of text is replaced in any text, in the forms that a path can take. Text of fewer than SHORTEST characters and
numbers stand in too many other words for that: they are hidden under the keys of their settings alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from kd_runner.plain_text import Lines, exception_text, plain_arguments

MASK = "***"
SHORTEST = 5
# Words that a person's account or machine may have as a name, and that messages are made of.
ORDINARY = {"false", "teacher", "student", "baseline", "dataset", "store", "kd_runner", "kd-runner", "outputs"}
# Variables that our own YAML reads. They name folders of data, which are no secrets.
SHOWN = frozenset({"KD_RUNNER_DATA"})
IN_ADDRESS = re.compile(r":(?!/)\S*@")  # a password in an address
BEHIND_NAME = re.compile(r"(://[^:/@]*:)(.*)(?=@)", re.DOTALL)  # to the last sign @, as a password may have one
IN_QUERY = re.compile(r"([?&][^=&]*pass[^=&]*=)([^&]*)", re.IGNORECASE)
EXPRESSION = re.compile(r"\$\{[^}]*\}")  # it names where the password comes from
IN_TEXT = re.compile(r"oc\.env:\s*['\"]?([A-Za-z_]\w*)")  # the name of a variable in a word of the command line

_variables: dict[str, str] = {}  # the names of variables by their values, in all forms
_keys: set[str] = set()  # the keys of settings, with dots, whose values are hidden
_make_record = logging.getLogRecordFactory()


def hide(variables: Mapping[str, str], keys: Iterable[str] = ()) -> None:
    """Hide the values of environment variables in texts, and those of settings with these keys in data.

    In texts, the folders that variables of our own YAML name are shown.
    """
    for name, value in variables.items():
        for text in () if name in SHOWN else _forms(value):
            if len(text) >= SHORTEST and text.lower() not in ORDINARY and not _is_number(text):
                _variables.setdefault(text, name)
    _keys.update(keys)
    if _variables:
        logging.setLogRecordFactory(_masked_record)
        sys.excepthook = print_exception


def hide_made_of(content: Any, expression: Any, variables: Iterable[str]) -> None:
    """Hide the texts in plain nested data that are made of environment variables, and do not hold their values.

    So it is with an item of a list that a variable has as a text. What holds a value is hidden in part by `hide`.

    Args:
        expression: The data before its expressions were resolved; only what stems from an expression is hidden.
    """
    if isinstance(expression, Mapping) and isinstance(content, Mapping):
        for key in content.keys() & expression.keys():
            hide_made_of(content[key], expression[key], variables)
    elif isinstance(expression, (list, tuple)) and isinstance(content, (list, tuple)):
        for value, text in zip(content, expression, strict=False):
            hide_made_of(value, text, variables)
    elif isinstance(expression, str) and "${" in expression:
        names = [name for name in IN_TEXT.findall(expression) or variables if name not in SHOWN][:1]
        for text in _texts(content) if names else ():
            if mask(text) == text:
                hide({names[0]: text})


def _texts(content: Any) -> Iterator[str]:
    """The texts in plain nested data."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, tuple, Mapping)):
        for value in content.values() if isinstance(content, Mapping) else content:
            yield from _texts(value)


def hide_named(words: Iterable[str]) -> None:
    """Hide the values of the environment variables that words of a command line name, before they are composed."""
    names = {name for word in words if not word.startswith("hydra.") for name in IN_TEXT.findall(word)}
    hide({name: os.environ[name] for name in names if name in os.environ})


def forget() -> None:
    """Hide nothing any more."""
    _variables.clear()
    _keys.clear()


def mask(text: str) -> str:
    """`text` with what is hidden replaced."""
    shown = text
    for value in sorted(_variables, key=len, reverse=True):
        shown = _pattern(value).sub(MASK, shown)
    return Lines(shown) if isinstance(text, Lines) else shown


def without_passwords(text: str) -> str:
    """`text` without the passwords of addresses: person:***@host."""
    return IN_ADDRESS.sub(f":{MASK}@", text)


def without_password(address: str) -> str:
    """An address, such as a database's, without its password, wherever it stands; an expression for it stays."""

    def mask_value(match: re.Match[str]) -> str:
        return match[1] + (match[2] if EXPRESSION.fullmatch(match[2]) else MASK)

    return IN_QUERY.sub(mask_value, BEHIND_NAME.sub(mask_value, address))


def explain(text: str) -> str:
    """`text` with what is hidden replaced, and the names of the variables that it came from at the end."""
    shown = mask(text)
    names = sorted({name for value, name in _variables.items() if _pattern(value).search(text)})
    if shown == text or not names:
        return text
    return f"{shown} ({MASK} is {', '.join(f'${{oc.env:{name}}}' for name in names)})"


def masked_data(content: Any) -> Any:
    """Plain nested data in whose texts what is hidden is replaced."""
    if not _variables:
        return content
    if isinstance(content, str):
        return mask(content)
    if isinstance(content, Mapping):
        return {key: masked_data(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [masked_data(value) for value in content]
    return content


def masked_keys(content: Any, *prefixes: str) -> Any:
    """Plain nested data, which stands in the settings at one of `prefixes`, with hidden keys and texts replaced."""
    if any(prefix in _keys for prefix in prefixes):
        return MASK
    if isinstance(content, Mapping):
        return {key: masked_keys(value, *(f"{prefix}.{key}" for prefix in prefixes)) for key, value in content.items()}
    return masked_data(content)


def hide_values(content: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Plain nested data with the values at `keys`, with dots, hidden."""
    below = {name: [key.removeprefix(f"{name}.") for key in keys if key.startswith(f"{name}.")] for name in content}
    return {
        name: MASK if name in keys else hide_values(value, below[name]) if isinstance(value, Mapping) else value
        for name, value in content.items()
    }


def _forms(value: str) -> set[str]:
    """The forms in which a value can stand in a text: as a path that is made whole, and with signs escaped."""
    value = value.rstrip("/\\") or value
    home = os.path.expanduser(value)  # noqa: PTH111 (Path raises where there is no home)
    paths = {value, home, os.path.normpath(value), os.path.normpath(home)}
    return {form for path in paths for form in (path, repr(path)[1:-1], json.dumps(path)[1:-1])}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _pattern(value: str) -> re.Pattern[str]:
    """The pattern of a value; a short word is hidden where it stands alone."""
    text = re.escape(value)
    return re.compile(rf"(?<!\w){text}(?!\w)" if value.isalpha() and len(value) < 8 else text)


def _masked_record(*arguments: Any, **more: Any) -> logging.LogRecord:
    record = _make_record(*arguments, **more)
    if _variables:
        try:
            record.args = plain_arguments(record.args)
            record.msg, record.args = mask(record.getMessage()), ()
        except (TypeError, ValueError):  # a message that does not fit its arguments, which logging says itself
            return record
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters that know the error would format it again, with what is hidden.
            record.exc_text, record.exc_info = mask(exception_text(*record.exc_info)), None
    return record


def print_exception(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    """Print an error that nothing caught, as Python does, with what is hidden replaced and controls escaped."""
    print(mask(exception_text(kind, error, trace)), file=sys.stderr)
