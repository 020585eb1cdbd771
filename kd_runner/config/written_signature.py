"""The signatures of kd-runner's own callables as their files have them, read without importing these, and torch.

So are the checks of arguments with which a callable begins: `if …: raise ValueError(…)`, one after another.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

# The names that an annotation of plain values is made of.
PLAIN = {"bool": bool, "float": float, "int": int, "str": str, "tuple": tuple, "Literal": Literal, "Sequence": Sequence}

# What a check of plain values calls.
IN_CHECKS = (all, any, len, list, map, max, min, range, sorted, str, sum, tuple, ValueError)


@functools.cache
def source_of(target: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function that one of kd-runner's own `_target_`s names, as it is written."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    name = target.rpartition(".")[2]
    return next((node for node in _statements(target) if isinstance(node, kinds) and node.name == name), None)


@functools.cache
def _statements(target: str) -> Sequence[ast.stmt]:
    """The statements of the module of one of kd-runner's own `_target_`s; none for another."""
    module = target.rpartition(".")[0]
    if not module.startswith("kd_runner."):
        return ()
    spec = None
    with suppress(ModuleNotFoundError):
        spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ()
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body


def _function_of(target: str) -> ast.FunctionDef | None:
    """The function that takes the arguments of one of kd-runner's own callables; None for a dataclass."""
    source = source_of(target)
    if isinstance(source, ast.ClassDef):
        return next(
            (node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None
        )
    return source


def check_arguments(target: str, arguments: Mapping[str, Any]) -> None:
    """Make the checks with which one of kd-runner's own callables begins, as far as these arguments decide them.

    Raises:
        ValueError: that of the callable.
    """
    function = _function_of(target)
    if function is None:
        return
    names = {"__builtins__": {part.__name__: part for part in IN_CHECKS}, **_constants(target), **arguments}
    for check in _checks(function):
        condition, refusal = (compile(ast.Expression(part), target, "eval") for part in check)
        try:
            error = eval(refusal, dict(names)) if eval(condition, dict(names)) else None
        except Exception:  # it asks for more than the arguments, such as the shape of the images
            continue
        if isinstance(error, ValueError):
            raise error


def _checks(function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The condition and the error of each check with which a function begins."""
    for statement in function.body:
        if isinstance(statement, ast.If) and isinstance(statement.body[0], ast.Raise) and not statement.orelse:
            if statement.body[0].exc is not None:
                yield statement.test, statement.body[0].exc
        elif not isinstance(statement, ast.Expr):  # its docstring, or super().__init__()
            return


def _constants(target: str) -> dict[str, Any]:
    """The plain values in the module of one of kd-runner's own callables, by their names."""
    constants = {}
    for statement in _statements(target):
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with suppress(ValueError):
                constants[statement.targets[0].id] = ast.literal_eval(statement.value)
    return constants


@functools.cache
def hints_of(target: str) -> Mapping[str, Any]:
    """The kinds of the arguments of one of kd-runner's own callables; those alone that take plain values."""
    source = source_of(target)
    if source is None:
        return {}
    function = _function_of(target)
    arguments: list[tuple[str, ast.expr | None]] = []
    if function is not None:
        arguments += [(part.arg, part.annotation) for part in [*function.args.args, *function.args.kwonlyargs]]
    elif isinstance(source, ast.ClassDef):  # a dataclass
        fields = [part for part in source.body if isinstance(part, ast.AnnAssign)]
        arguments = [(part.target.id, part.annotation) for part in fields if isinstance(part.target, ast.Name)]
    hints: dict[str, Any] = {}
    for name, annotation in arguments:
        with suppress(NameError):
            if annotation is not None:
                hints[name] = eval(ast.unparse(annotation), {"__builtins__": {}}, dict(PLAIN))
    return MappingProxyType(hints)
