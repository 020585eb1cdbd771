"""The thing that a `_target_` node names, built with arguments that are checked against its own signature."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from kd_runner.config.door import OPTIONS, PACKAGES, check_arguments, find_target, is_of
from kd_runner.config.field_types import Node
from kd_runner.config.given import is_name_of_given
from kd_runner.config.own_files import own_digest
from kd_runner.config.validation import as_number, as_text, fields_of, rule_of
from kd_runner.errors import SettingsError, code_error, one_line
from kd_runner.foreign_words import answer_for
from kd_runner.suggestions import did_you_mean

# PyTorch's words for an argument of an optimizer that it refuses: "Invalid learning rate: -1.0".
INVALID = re.compile(r"Invalid (learning rate|beta parameter|\w+)(?: at index \d+| value)*: ")
TORCH_WORDS = {"learning rate": "lr", "beta parameter": "betas", "epsilon": "eps"}
ARGUMENT_RANGES = dict.fromkeys(("lr", "momentum", "weight_decay", "eps", "lr_decay"), "0 or more")
ARGUMENT_RANGES |= {"betas": "from 0 to below 1"}
LOSS = ("student", "teacher", "labels", "temperature")  # what a loss is called with
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # *args and **kwargs


def build(node: Node, key: str, trust: Iterable[str] = (), groups: Sequence[str] = OPTIONS, **offered: Any) -> Any:
    """Call what `node` names with its arguments, and with those of `offered` that its signature asks for by name.

    Args:
        key: The node's key in the settings; every message starts with it.
        trust: Further packages from which a callable may come.
        groups: Groups of kd-runner whose options the node may name.
        offered: Arguments that a callable gets where it has a parameter of that name, such as `num_classes`.

    Raises:
        SettingsError: an unknown or untrusted target, an argument that it does not take, or a value that it refuses.
    """
    target, arguments = _prepare(node, key, trust, groups, offered)
    try:
        return target(**arguments)
    except Exception as error:  # anyone's code: the person needs to know which setting it was
        raise SettingsError(refusal(error, node, key)) from error


def build_loss(node: Node, key: str, trust: Iterable[str] = ()) -> Any:
    """The loss that `node` names: what a class or function makes, or a function that is the loss itself.

    A function is the loss itself where it needs exactly four arguments besides those of the node, its first ones: the
    outputs of student and teacher, the labels and the temperature. Its others are bound to it.

    Raises:
        SettingsError: as in `build`.
    """
    target = _locate(node, key, tuple(trust))
    parameters = list(inspect.signature(target).parameters.values()) if inspect.isfunction(target) else []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind not in _VARIADIC and parameter.name not in node
    ]
    first = [parameter.name for parameter in parameters[: len(LOSS)] if parameter.kind in positional]
    if needed != first or len(first) != len(LOSS):
        if {*LOSS[:2]} <= set(needed):
            raise SettingsError(
                f"{key}._target_: must be a function of ({', '.join(LOSS)}) and of settings behind them, or a class "
                f"whose objects are called with these, got {node['_target_']}({', '.join(needed)})"
            )
        return build(node, key, trust)
    arguments = _prepare(node, key, trust, OPTIONS, dict.fromkeys(first))[1]
    settings = {name: value for name, value in arguments.items() if name not in first}
    return functools.update_wrapper(functools.partial(target, **settings), target) if settings else target


def refusal(error: Exception, node: Node, key: str) -> str:
    """The message for an error of the callable that `node` names, with the key of the argument that it is about."""
    message = one_line(error)
    torch_words = INVALID.match(message)
    if torch_words:
        name = TORCH_WORDS.get(torch_words[1], torch_words[1])
        if name in node:
            return f"{key}.{name}: must be {ARGUMENT_RANGES.get(name, 'another value')}, got {node[name]}"
    if message.split(" ", 1)[0] in node:  # "depth must be …" becomes "teacher.depth must be …"
        return f"{key}.{message}"
    if isinstance(error, FileNotFoundError) and "root" in node:
        return f"{key}.root: {message}"
    return f"{key}: {message if isinstance(error, SettingsError) else code_error(error)}"


def build_partial(node: Node, key: str, first: str, trust: Iterable[str] = ()) -> Callable[..., Any]:
    """A function of the argument `first` alone: the callable that `node` names, with its other arguments bound."""
    target, arguments = _prepare(node, key, trust, OPTIONS, {first: None})
    arguments.pop(first, None)
    return functools.partial(target, **arguments)


def takes(node: Node, key: str, name: str, trust: Iterable[str] = ()) -> bool:
    """True where the callable of `node` has a parameter of that name."""
    return name in inspect.signature(_locate(node, key, tuple(trust))).parameters


def names_of(node: Node, key: str, trust: Iterable[str] = ()) -> tuple[str, str]:
    """The callable's name in `node`, and the module in which it was written."""
    return node["_target_"], str(_locate(node, key, tuple(trust)).__module__)


def _prepare(
    node: Node, key: str, trust: Iterable[str], groups: Sequence[str], offered: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The callable of `node`, and all its arguments."""
    target = _locate(node, key, tuple(trust), groups)
    check_arguments(target, node, key, tuple(trust))
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    settable = [name for name in parameters if name not in offered]
    hints = hints_of_callable(target)
    inside = target.offered_inside(node, offered) if hasattr(target, "offered_inside") else offered
    arguments: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_":
            continue
        if name not in settable and (not takes_any or name in offered):
            raise SettingsError(_unknown(f"{key}.{name}", name, settable, node["_target_"], value))
        arguments[name] = _argument(value, hints.get(name), f"{key}.{name}", trust, groups, inside)
    for name, parameter in parameters.items():
        if name in offered:
            arguments[name] = offered[name]
        elif parameter.default is parameter.empty and name not in node and parameter.kind not in _VARIADIC:
            raise SettingsError(f"{key}.{name}: must be given, {node['_target_']} needs it")
    if takes_any and "num_classes" in offered:
        # torchvision's builders pass on the one argument that every model takes.
        arguments["num_classes"] = offered["num_classes"]
    return target, arguments


def _argument(
    value: Any, hint: Any, key: str, trust: Iterable[str], groups: Sequence[str], offered: Mapping[str, Any]
) -> Any:
    """An argument: a node, and each of several nodes with names, is built; another value is checked."""
    if _is_node(value):
        return build(value, key, trust, groups, **offered)
    if isinstance(value, dict) and value and all(map(_is_node, value.values())):
        return {name: build(node, f"{key}.{name}", trust, groups, **offered) for name, node in value.items()}
    return convert_value(value, hint, key)


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def _locate(node: Node, key: str, trust: tuple[str, ...], groups: Sequence[str] = OPTIONS) -> Callable[..., Any]:
    return find_target(node.get("_target_"), key, trust, groups)


def source_digest(node: Node, key: str, trust: Iterable[str] = ()) -> str | None:
    """SHA-256 of the user's own files that decide what the callable of `node` does; None where it is of a library.

    They are the file that defines it, and those of the same package, or folder, that it imports. A user's file may be
    edited between two runs; a package's version says what its files hold.
    """
    target = _locate(node, key, tuple(trust))
    if is_name_of_given(node["_target_"]):
        return str(node["_target_"])  # which has a digest of the object in it
    if is_of(target, PACKAGES):
        return None
    if not (
        inspect.isclass(target) or inspect.isroutine(target)
    ):  # an object that can be called, as its module made it
        module = node["_target_"].rpartition(".")[0]
        return own_digest(module, Path(inspect.getfile(sys.modules[module])))
    return own_digest(str(target.__module__), Path(inspect.getfile(inspect.unwrap(target))))


def _unknown(key: str, name: str, known: list[str], target: str, value: Any) -> str:
    answer = answer_for(key, str(value))
    if answer:
        return f"{key}: no such setting; {answer}"
    takes = ", ".join(known) if known else "no settings"
    meant = did_you_mean(name, [*known, *fields_of(key.rpartition(".")[0])])
    return f"{key}: no such setting{meant}; {target} takes {takes}"


@functools.lru_cache(maxsize=1000)  # the jobs of a sweep build the same things
def hints_of_callable(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # a package's annotations that exist for type checkers only
        return {}


def convert_value(value: Any, hint: Any, key: str) -> Any:
    """`value` as its annotation wants it; as it is where the annotation is none or cannot be checked.

    pydantic reads it as strict JSON: a list may stand for a tuple and a whole number for a real one, and text for what
    YAML cannot write, such as a path. No other kind of value is turned into another. Keys of a dictionary without
    kinds in its annotation become text.

    Raises:
        SettingsError: a value of the wrong kind.
    """
    if hint is None:
        return value
    try:
        adapter = _adapter(hint) if isinstance(hint, Hashable) else _new_adapter(hint)
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise SettingsError(_wrong_kind(key, error)) from None
    except (PydanticSchemaGenerationError, PydanticUserError):
        return value


def _new_adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))


@functools.lru_cache(maxsize=1000, typed=True)
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return _new_adapter(hint)


def warm_up_adapters(target: Callable[..., Any]) -> None:
    """Build the adapters of the kinds that a callable's arguments have, which `build` then finds."""
    for hint in hints_of_callable(target).values():
        if isinstance(hint, Hashable):
            with suppress(PydanticSchemaGenerationError, PydanticUserError):
                _adapter(hint)


def _wrong_kind(key: str, error: ValidationError) -> str:
    problem = error.errors()[0]
    # Numbers in a location are positions in a list; of a tuple that is too short, the list is shown.
    positions = [] if problem["type"] == "missing" else [part for part in problem["loc"] if isinstance(part, int)]
    key = ".".join(map(str, [key, *positions]))
    return f"{key}: {rule_of(problem)}, got {problem['input']!r}{as_number(problem)}{as_text(problem, key)}"
