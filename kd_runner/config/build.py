"""From a `_target_` node to the thing it names, with its arguments checked against the callable's own signature."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import itertools
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from kd_runner.config.settings import Node, rule_of
from kd_runner.errors import SettingsError, one_line
from kd_runner.suggestions import did_you_mean

# Of kd_runner itself the packages that hold options: the rest reads and writes files.
OPTIONS = ("models", "datasets", "distillation", "temperature", "schedule", "optimizer")
TRUSTED = (*(f"kd_runner.{part}" for part in OPTIONS), "torch.nn", "torch.optim", "torchvision.models", "timm")


def build(node: Node, key: str, trust: Iterable[str] = (), **offered: Any) -> Any:
    """Call what `node` names with its arguments, and with those of `offered` that its signature asks for by name.

    Args:
        key: Where the node stands in the settings; every message starts with it.
        trust: Packages beside the trusted ones from which a callable may come.

    Raises:
        SettingsError: an unknown or untrusted target, an argument that it does not take, or a value that it refuses.
    """
    target, arguments = _prepare(node, key, trust, offered)
    try:
        return target(**arguments)
    except Exception as error:  # anyone's code: the person needs to know which of the settings it was
        message = one_line(error)
        named = message.split(" ", 1)[0] in node  # "depth must be …" becomes "teacher.depth must be …"
        raise SettingsError(f"{key}.{message}" if named else f"{key}: {message}") from error


def build_partial(node: Node, key: str, first: str, trust: Iterable[str] = ()) -> Callable[..., Any]:
    """What `node` names with its arguments bound, for a call with the argument `first` alone."""
    target, arguments = _prepare(node, key, trust, {first: None})
    arguments.pop(first, None)
    return functools.partial(target, **arguments)


def takes(node: Node, key: str, name: str, trust: Iterable[str] = ()) -> bool:
    """Whether what `node` names has a parameter of that name."""
    return name in inspect.signature(_locate(node, key, tuple(trust))).parameters


def names_of(node: Node, key: str, trust: Iterable[str] = ()) -> tuple[str, str]:
    """What `node` names, and the module in which that was written."""
    return node["_target_"], str(_locate(node, key, tuple(trust)).__module__)


def _prepare(
    node: Node, key: str, trust: Iterable[str], offered: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    target = _locate(node, key, tuple(trust))
    given = {name: value for name, value in node.items() if name != "_target_"}
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    own = [name for name in parameters if name not in offered]
    hints = _hints(target)
    arguments: dict[str, Any] = {}
    for name, value in given.items():
        if name not in own and (not takes_any or name in offered):
            raise SettingsError(_unknown(f"{key}.{name}", name, own, node["_target_"]))
        if isinstance(value, dict) and "_target_" in value:
            arguments[name] = build(value, f"{key}.{name}", trust, **offered)
        elif isinstance(value, dict) and value and all(isinstance(v, dict) and "_target_" in v for v in value.values()):
            arguments[name] = {part: build(v, f"{key}.{name}.{part}", trust, **offered) for part, v in value.items()}
        else:
            arguments[name] = _convert(value, hints.get(name), f"{key}.{name}")
    for name, parameter in parameters.items():
        if name in offered:
            arguments[name] = offered[name]
        elif parameter.default is parameter.empty and name not in given and parameter.kind not in _VARIADIC:
            raise SettingsError(f"{key}.{name}: must be given, {node['_target_']} needs it")
    if takes_any and "num_classes" in offered:
        # torchvision's builders pass it on: the one argument that every model takes.
        arguments["num_classes"] = offered["num_classes"]
    return target, arguments


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _locate(node: Node, key: str, trust: tuple[str, ...]) -> Callable[..., Any]:
    name = node.get("_target_")
    if not isinstance(name, str):
        raise SettingsError(f"{key}._target_: must name a callable, got {name!r}")
    if not _is_trusted(name, trust):
        raise SettingsError(_untrusted_error(key, name, trust))
    module_name, _, attribute = name.rpartition(".")
    try:
        target = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise SettingsError(f"{key}._target_: cannot import {module_name}: {one_line(error)}") from error
    except AttributeError:
        raise SettingsError(f"{key}._target_: {module_name} has no {attribute}") from None
    if not callable(target):
        raise SettingsError(f"{key}._target_: must name a callable, got {name}")
    # A module of a trusted package may import anything; what counts is where the code was written.
    if not _is_trusted(f"{getattr(target, '__module__', None)}.", trust):
        raise SettingsError(_untrusted_error(key, f"{name}, which is {target.__module__}.{attribute}", trust))
    return target


def _is_trusted(name: str, trust: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{package}.") for package in (*TRUSTED, *trust))


def _untrusted_error(key: str, name: str, trust: tuple[str, ...]) -> str:
    return (
        f"{key}._target_: must come from {', '.join((*TRUSTED, *trust))}, got {name}; "
        f"to run code of your own, add its package on the command line: trust=[{name.split('.')[0]}]"
    )


def source_digest(node: Node, key: str, trust: Iterable[str] = ()) -> str | None:
    """SHA-256 of the file that defines what `node` names, where that is a user's own and may be edited; else None."""
    target = _locate(node, key, tuple(trust))
    if _is_trusted(f"{target.__module__}.", ()):
        return None
    return hashlib.sha256(Path(inspect.getfile(target)).read_bytes()).hexdigest()


def _unknown(key: str, name: str, known: list[str], target: str) -> str:
    takes = ", ".join(known) if known else "no settings"
    return f"{key}: no such setting{did_you_mean(name, known)}; {target} takes {takes}"


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # annotations of others that exist for type checkers only
        return {}


def _convert(value: Any, hint: Any, key: str) -> Any:
    """`value` as its annotation wants it; as it is where the annotation is none or cannot be checked.

    A whole number may stand for a real one and a list for a tuple; no other kind of value is turned into another.
    """
    if hint is None:
        return value
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
        converted = adapter.validate_python(value)
    except ValidationError as error:
        raise SettingsError(_wrong_kind(key, error)) from None
    except (PydanticSchemaGenerationError, PydanticUserError):
        return value
    changed = _change_of_kind(value, converted, key)
    if changed is not None:
        raise SettingsError(changed)
    return converted


_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _change_of_kind(given: Any, converted: Any, key: str) -> str | None:
    """What is wrong where a number, text or flag from YAML became another kind of them; else None."""
    parts: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(given, dict) and isinstance(converted, Mapping):
        parts = ((name, given[name], converted[name]) for name in given)
    elif isinstance(given, list) and isinstance(converted, (list, tuple)):
        parts = zip(itertools.count(), given, converted)
    for name, value, result in parts:
        changed = _change_of_kind(value, result, f"{key}.{name}")
        if changed is not None:
            return changed
    kind = _KINDS.get(type(converted))
    whole = type(given) is int and type(converted) is float
    if kind is None or ((type(given) is type(converted) or whole) and given == converted):
        return None
    return f"{key}: must be a valid {kind}, got {given!r}"


def _wrong_kind(key: str, error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] == "missing":  # of a tuple that is too short
        return f"{key}: {rule_of(problem)}, got {problem['input']!r}"
    place = "".join(f".{part}" for part in problem["loc"] if isinstance(part, int))  # in a list
    return f"{key}{place}: {rule_of(problem)}, got {problem['input']!r}"
