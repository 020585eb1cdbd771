"""The texts that say what a class or function does: its source, and the values that it uses."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch

from kd_runner.config.door import PACKAGES, is_of
from kd_runner.config.own_files import imports_digest, is_own, own_digest
from kd_runner.errors import SettingsError

LIBRARIES = (*PACKAGES, "kd_runner", "torch", "torchvision", "numpy", "builtins", "math", "functools", "types")
PLAIN = (int, float, complex, str, bytes, bool, type(None))
DATA = (*PLAIN, Mapping, Sequence, set, frozenset, np.ndarray, torch.Tensor, torch.dtype, torch.nn.Module)
HOLDERS = (Enum, Namespace, SimpleNamespace)


class Texts(Protocol):
    """The description that a text becomes a part of (`kd_runner.interface.identity.Description`)."""

    key: str

    def refer(self, thing: Any, must: bool) -> str:
        """The text that stands for another object."""


def parts_of_code(thing: Any, must: bool, texts: Texts) -> Iterator[str]:
    """The source of a class or function, and of what it uses of a person's own; of a library, its name alone.

    Args:
        must: True where a source that cannot be read is an error.

    Raises:
        SettingsError: it cannot be read.
    """
    name = f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', None) or type(thing).__qualname__}"
    yield name
    is_of_library = is_of(thing, LIBRARIES)
    if inspect.ismethod(thing):
        yield texts.refer(thing.__self__, must and not is_of_library)
    if is_of_library:
        return
    if inspect.isbuiltin(thing):
        yield texts.refer(thing.__self__, False)
    if not must and not is_own(str(getattr(thing, "__module__", None))):
        return
    source = _source_of(thing)
    if source is None and must:
        raise SettingsError(
            f"{texts.key}: the source of {name} cannot be read, so no run could be told from another by it, and "
            "nothing kept in the store: define it in a file or in a cell of a notebook"
        )
    yield source or ""
    functions = _wrapped_functions(thing)
    if functions and (source is None or functions[-1].__name__ == "<lambda>"):  # a line may have several
        yield _text_of_bytecode(functions[-1].__code__)
    for function in functions[:-1]:
        yield _source_of(function.__code__) or _text_of_bytecode(function.__code__)
    for function in functions:
        yield from _parts_of_function(function, must and function is functions[-1], texts)
    if inspect.isclass(thing):
        yield from (texts.refer(base, False) for base in thing.__bases__)
        yield from _parts_of_class(thing, texts)
    yield from _parts_of_names(thing, source or "", functions, must, texts)
    yield _digest_of_imports(thing, source or "")


def text_of_module(module: ModuleType) -> str:
    """The name of a module, and the content of its files where it is a person's own."""
    file = getattr(module, "__file__", None)
    if file is None or not is_own(module.__name__):
        return f"module {module.__name__}"
    try:
        return f"module {module.__name__} {own_digest(module.__name__, Path(file))}"
    except OSError:  # moved away since
        return f"module {module.__name__}"


def _source_of(thing: Any) -> str | None:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        return None


def _wrapped_functions(thing: Any) -> list[FunctionType]:
    """A function and those that it wraps, the innermost at the end; none for a class."""
    functions: list[FunctionType] = []
    seen: set[int] = set()
    while thing is not None and not inspect.isclass(thing) and id(thing) not in seen:
        seen.add(id(thing))
        thing = getattr(thing, "__func__", thing)
        if inspect.isfunction(thing):
            functions.append(thing)
        thing = getattr(thing, "__wrapped__", None)
    return functions


def _parts_of_function(function: FunctionType, must: bool, texts: Texts) -> Iterator[str]:
    """The values that a function keeps: those of names around it, and its defaults."""
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        yield texts.refer(value, must)
    yield texts.refer(function.__defaults__, False)
    yield texts.refer(function.__kwdefaults__, False)


def _parts_of_class(kind: type[Any], texts: Texts) -> Iterator[str]:
    """The values that a class keeps, which may have changed since its source was run."""
    for name, value in sorted(vars(kind).items()):
        if isinstance(value, functools.cached_property):
            methods: list[Any] = [value.func]
        elif isinstance(value, property):
            methods = [value.fget, value.fset, value.fdel]
        else:
            methods = [value]
        functions = [function for method in methods for function in _wrapped_functions(method)]
        for function in functions:
            yield f"{name}:"
            is_in_source = f"{function.__module__}.{function.__qualname__}".startswith(
                f"{kind.__module__}.{kind.__qualname__}."
            )
            if is_in_source:
                yield from _parts_of_function(function, False, texts)
            else:
                yield texts.refer(function, False)
        if not functions and not name.startswith("__") and _counts(value):
            yield f"{name}: {texts.refer(value, False)}"


def _parts_of_names(
    thing: Any, source: str, functions: Sequence[FunctionType], must: bool, texts: Texts
) -> Iterator[str]:
    """The global variables that a source uses: plain values, what holds them, and code of a person's own."""
    module = sys.modules.get(str(getattr(thing, "__module__", None)))
    around = functions[-1].__globals__ if functions else vars(module) if module is not None else {}
    names = _names_in(source)
    if not names and functions:  # a lambda in the middle of a call
        names = _names_in_code(functions[-1].__code__)
    for name in names:
        if name not in around:
            continue
        value = around[name]
        is_code = inspect.isroutine(value) or inspect.isclass(value)
        is_near = is_code and getattr(value, "__module__", None) == getattr(thing, "__module__", None)
        if is_near or _counts(value):
            yield f"{name}= {texts.refer(value, must and (is_near or isinstance(value, tuple)))}"


def _counts(value: object) -> bool:
    """True for a global variable that a digest follows: others of libraries may lead to all of a process."""
    is_code = inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, (ModuleType, functools.partial))
    return is_code or isinstance(value, DATA) or holds_settings(value)


def holds_settings(thing: object) -> bool:
    """True for an instance of a person's own class, and of a library's that is there to hold values."""
    return isinstance(thing, HOLDERS) or is_dataclass(thing) or is_own(type(thing).__module__)


def _names_in(source: str) -> list[str]:
    """The names that a source uses, in the order of the alphabet; those of a piece of a line are not known."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def _names_in_code(code: CodeType) -> list[str]:
    inner = [name for part in code.co_consts if isinstance(part, CodeType) for name in _names_in_code(part)]
    return sorted({*code.co_names, *inner})


def _text_of_bytecode(code: CodeType) -> str:
    """The bytecode that Python runs, as a text in place of a source."""
    values = [_text_of_bytecode(value) if isinstance(value, CodeType) else _constant(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {values} {code.co_names} {code.co_varnames}"


def _constant(value: Any) -> str:
    return f"frozenset {sorted(map(repr, value))}" if isinstance(value, frozenset) else repr(value)


def _digest_of_imports(thing: Callable[..., Any], source: str) -> str:
    """The content of a person's own files that a source imports itself."""
    module = str(getattr(thing, "__module__", None))
    file = getattr(sys.modules.get(module), "__file__", None)
    # Beside a notebook lie its own modules.
    return imports_digest(source, module, Path(file) if file else Path.cwd() / "notebook") if "import" in source else ""
