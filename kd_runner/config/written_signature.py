"""The signatures of kd-runner's own callables as their files have them, read without importing these, and torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

# The names that an annotation of plain values is made of.
PLAIN = {"bool": bool, "float": float, "int": int, "str": str, "tuple": tuple, "Literal": Literal, "Sequence": Sequence}


@functools.cache
def source_of(target: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function that one of kd-runner's own `_target_`s names, as it is written."""
    module, _, name = target.rpartition(".")
    if not module.startswith("kd_runner."):
        return None
    spec = None
    with suppress(ModuleNotFoundError):
        spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((node for node in tree.body if isinstance(node, kinds) and node.name == name), None)


@functools.cache
def hints_of(target: str) -> Mapping[str, Any]:
    """The kinds of the arguments of one of kd-runner's own callables; those alone that take plain values."""
    source = source_of(target)
    if source is None:
        return {}
    constructor = [part for part in source.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    arguments: list[tuple[str, ast.expr | None]] = []
    for function in [source] if isinstance(source, ast.FunctionDef) else constructor:
        arguments += [(part.arg, part.annotation) for part in [*function.args.args, *function.args.kwonlyargs]]
    if isinstance(source, ast.ClassDef) and not constructor:  # a dataclass
        fields = [part for part in source.body if isinstance(part, ast.AnnAssign)]
        arguments = [(part.target.id, part.annotation) for part in fields if isinstance(part.target, ast.Name)]
    hints: dict[str, Any] = {}
    for name, annotation in arguments:
        with suppress(NameError):
            if annotation is not None:
                hints[name] = eval(ast.unparse(annotation), {"__builtins__": {}}, dict(PLAIN))
    return MappingProxyType(hints)
