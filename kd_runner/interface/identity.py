"""A digest of a Python object: of its source, and of what it holds."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from kd_runner.config.door import PACKAGES, is_of
from kd_runner.errors import SettingsError
from kd_runner.networks.checkpoints import state_digest

DIGITS = 16
PLAIN = (int, float, complex, str, bytes, bool, type(None))


def digest_of(thing: object, key: str) -> str:
    """16 hexadecimal digits that change with the source of `thing`, and with its weights and settings.

    Args:
        key: The key of the settings that it was given for; messages start with it.

    Raises:
        SettingsError: its source cannot be read, or it holds what has no text that stays the same.
    """
    seen: dict[int, object] = {}
    text = "\n".join(_parts(thing, key, seen))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _parts(thing: Any, key: str, seen: dict[int, object]) -> Iterator[str]:
    """Texts that together say what `thing` is.

    Args:
        seen: The objects that were described before, by identity; kept, so that no other object gets their identity.
    """
    if isinstance(thing, PLAIN):
        yield repr(thing)
    elif id(thing) in seen:
        yield "seen before"
    elif isinstance(thing, torch.Tensor):
        yield state_digest({"tensor": thing.detach()})
    elif isinstance(thing, np.ndarray):
        yield f"{thing.dtype}{thing.shape}{hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()}"
    else:
        seen[id(thing)] = thing
        yield from _parts_of_object(thing, key, seen)


def _parts_of_object(thing: Any, key: str, seen: dict[int, object]) -> Iterator[str]:
    if isinstance(thing, Mapping):
        for name, value in thing.items():
            yield f"{name!r}:"
            yield from _parts(value, key, seen)
    elif isinstance(thing, (Sequence, set, frozenset)):
        yield f"{type(thing).__name__}{len(thing)}"
        for value in sorted(thing, key=repr) if isinstance(thing, (set, frozenset)) else thing:
            yield from _parts(value, key, seen)
    elif isinstance(thing, functools.partial):
        yield from _parts([thing.func, thing.args, thing.keywords], key, seen)
    elif inspect.isroutine(thing) or inspect.isclass(thing):
        yield from _parts_of_code(thing, key, seen)
    elif isinstance(thing, torch.dtype | torch.device):
        yield repr(thing)
    elif isinstance(thing, nn.Module):
        yield repr(thing)
        yield state_digest(thing.state_dict())
        for kind in dict.fromkeys(type(module) for module in thing.modules()):
            yield from _parts(kind, key, seen)
        yield from _parts({name: value for name, value in vars(thing).items() if not name.startswith("_")}, key, seen)
    elif hasattr(thing, "__dict__"):
        yield from _parts(type(thing), key, seen)
        yield from _parts(vars(thing), key, seen)
    else:
        raise SettingsError(
            f"{key}: no run could be told from another by a {type(thing).__name__}, which says neither its source nor "
            "its settings: give a class, a function, or an object of a class of your own"
        )


def _parts_of_code(thing: Any, key: str, seen: dict[int, object]) -> Iterator[str]:
    """The source of a class or function, and of what it uses of its own module; of a library, its name alone."""
    name = f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', thing)}"
    yield name
    if is_of(thing, (*PACKAGES, "kd_runner", "torch", "torchvision", "numpy", "builtins", "math", "functools")):
        return
    if inspect.ismethod(thing):
        yield from _parts(thing.__self__, key, seen)
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        raise SettingsError(
            f"{key}: the source of {name} cannot be read, so no run could be told from another by it, and nothing kept "
            "in the store: define it in a file or in a cell of a notebook"
        ) from None
    yield source
    function = inspect.unwrap(thing) if inspect.isroutine(thing) else None
    for cell in getattr(function, "__closure__", None) or ():
        yield from _parts(cell.cell_contents, key, seen)
    module = sys.modules.get(str(getattr(thing, "__module__", None)))
    surroundings = getattr(function, "__globals__", None) or vars(module) if module is not None else {}
    for used in _names_in(source):
        value = surroundings.get(used)
        is_near = getattr(value, "__module__", None) == getattr(thing, "__module__", None)
        if isinstance(value, (PLAIN, tuple)) or (is_near and (inspect.isroutine(value) or inspect.isclass(value))):
            yield f"{used}="
            yield from _parts(value, key, seen)


def _names_in(source: str) -> list[str]:
    """The names that a source uses, in the order of the alphabet; those of a piece of a line are not known."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a lambda in the middle of a call
        return []
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
