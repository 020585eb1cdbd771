"""A digest of a Python object: of its source, and of what it holds."""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_runner.config.own_files import is_own
from kd_runner.errors import SettingsError
from kd_runner.interface import code_parts
from kd_runner.interface.code_parts import PLAIN
from kd_runner.networks.checkpoints import state_digest

DIGITS = 16
BOOKKEEPING = frozenset(vars(nn.Module()))  # torch's own attributes of a module: its parameters, hooks, mode and so on
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
MOST_OBJECTS = 1_000_000  # that are looked into beside those that must have a text; they are always the same ones
NESTED_SETS = 3
OF_PROCESS = (logging.Logger, type(os.environ))  # what they hold, no setting is


def digest_of(thing: object, key: str) -> str:
    """16 hexadecimal digits that change with the source of `thing`, and with its weights and settings.

    Args:
        key: The key of the settings that it was given for; messages start with it.

    Raises:
        SettingsError: its source cannot be read, or it holds what has no text that stays the same.
    """
    return Description(key).digest(thing)[:DIGITS]


class Untold(Exception):
    """An object has no text that stays the same; the message says so."""


class Description:
    """Texts that together say what an object is: its own, and those of the objects in it, each once, by numbers.

    An object that must have a text, and has none, is an error: what is given, and what it holds in plain view. Others
    count by the name of their type then: what lies in private attributes, in modules of a network, in defaults of
    functions and in global variables is looked into as far as it goes.

    Args:
        key: The key of the settings, for messages.
        nested_sets: The number of sets that the object lies in.
    """

    def __init__(self, key: str, nested_sets: int = 0) -> None:
        self.key = key
        self.nested_sets = nested_sets
        self.numbers: dict[int, int] = {}
        self.objects: list[object] = []  # kept, so that no other object gets their identity
        self.waiting: dict[bool, deque[object]] = {True: deque(), False: deque()}
        self.done: set[int] = set()

    def digest(self, thing: object, must: bool = True) -> str:
        """The SHA-256 of the texts, in hexadecimal digits.

        Raises:
            SettingsError: an object that must have a text has none.
        """
        sha = hashlib.sha256(self.refer(thing, must).encode())
        while self.waiting[True] or (self.waiting[False] and len(self.done) < MOST_OBJECTS):
            is_must = bool(self.waiting[True])
            waiting = self.waiting[is_must].popleft()
            if id(waiting) not in self.done:
                self.done.add(id(waiting))
                sha.update(f"\n#{self.numbers[id(waiting)]}\n{self._text(waiting, is_must)}".encode())
        return sha.hexdigest()

    def refer(self, thing: Any, must: bool) -> str:
        """The text of a plain value or an array; of another object its number, under which its own text follows."""
        if isinstance(thing, PLAIN):
            return _plain_text(thing)
        if isinstance(thing, (Tensor, np.ndarray)):
            try:
                return _array_text(thing)
            except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
                if must:
                    raise SettingsError(_no_text(thing, self.key)) from error
                return _name_of_type(thing)
        if type(thing) is tuple and all(type(value) in PLAIN for value in thing):
            return repr(thing)
        self.number(thing)
        self.waiting[must].append(thing)
        return f"#{self.numbers[id(thing)]}"

    def number(self, thing: object) -> None:
        """Give an object a number, where it has none."""
        if self.numbers.setdefault(id(thing), len(self.objects)) == len(self.objects):
            self.objects.append(thing)

    def _text(self, thing: object, must: bool) -> str:
        try:
            return "\n".join(self._parts(thing, must))
        except Untold as reason:
            if must:
                raise SettingsError(str(reason)) from None
            return _name_of_type(thing)

    def _parts(self, thing: Any, must: bool) -> Iterator[str]:
        if isinstance(thing, OF_PROCESS):
            yield _name_of_type(thing)
        elif isinstance(thing, Mapping):
            yield type(thing).__name__
            yield from (f"{self.refer(name, must)}: {self.refer(value, must)}" for name, value in thing.items())
            yield from self._attributes_of_own(thing)
        elif isinstance(thing, (set, frozenset)):
            yield f"{type(thing).__name__} {len(thing)} {self._text_of_set(thing, must)}"
        elif isinstance(thing, Sequence) and not isinstance(thing, (range, memoryview)):
            yield f"{type(thing).__name__} {len(thing)}"
            yield from (self.refer(value, must) for value in thing)
            yield from self._attributes_of_own(thing)
        elif isinstance(thing, functools.partial):
            yield " ".join(self.refer(value, must) for value in (thing.func, thing.args, thing.keywords))
        elif isinstance(thing, ModuleType):
            yield code_parts.text_of_module(thing)
        elif inspect.isroutine(thing) or inspect.isclass(thing):
            yield from code_parts.parts_of_code(thing, must, self)
        elif isinstance(thing, torch.dtype | torch.device):
            yield repr(thing)
        elif isinstance(thing, nn.Module):
            yield from self._parts_of_network(thing, must)
        else:
            yield from self._parts_of_instance(thing, must)

    def _text_of_set(self, values: set[Any] | frozenset[Any], must: bool) -> str:
        """A set's values in an order that does not depend on the process."""
        if all(isinstance(value, PLAIN) for value in values):
            return " ".join(sorted(map(_plain_text, values)))
        if self.nested_sets == NESTED_SETS:
            return ""
        inner = (Description(self.key, self.nested_sets + 1).digest(value, must) for value in values)
        return " ".join(sorted(inner))

    def _parts_of_network(self, network: nn.Module, must: bool) -> Iterator[str]:
        """The layers and weights of a network, and the settings that each of its modules has as attributes."""
        yield ADDRESS.sub("", repr(network))
        yield state_digest(network.state_dict())
        modules = dict(network.named_modules())
        for module in modules.values():  # the texts of modules are part of the network's
            self.number(module)
            self.done.add(id(module))
        yield from (self.refer(kind, must) for kind in dict.fromkeys(map(type, modules.values())))
        yield f"frozen {[name for name, weight in network.named_parameters() if not weight.requires_grad]}"
        if isinstance(network, torch.jit.ScriptModule):
            yield _graph_of(network)
        for path, module in modules.items():
            for name in sorted(module._non_persistent_buffers_set):  # which are not in its state
                yield f"{path}.{name}: {self.refer(module._buffers[name], False)}"
            for name, value in sorted(vars(module).items()):
                if name not in BOOKKEEPING:
                    is_in_view = path == "" and not name.startswith("_")
                    yield f"{path}.{name}: {self.refer(value, must and is_in_view)}"

    def _parts_of_instance(self, thing: Any, must: bool) -> Iterator[str]:
        # A library's class without a dictionary may keep in its slots what it has computed, as a path does.
        is_value = not hasattr(thing, "__dict__") and not is_own(type(thing).__module__)
        attributes = None if is_value else _attributes(thing)
        if attributes is None:
            yield from (self.refer(part, must) for part in _copied_parts(thing, self.key))
        elif must or code_parts.holds_settings(thing):
            yield self.refer(type(thing), must)
            yield from (f"{name}: {self.refer(value, must)}" for name, value in attributes.items())
        else:  # an object of a library may lead to all of a process, such as its threads and open files
            yield _name_of_type(thing)
            in_view = {name: value for name, value in attributes.items() if not str(name).startswith("_")}
            yield from (f"{name}: {value!r}" for name, value in in_view.items() if type(value) in PLAIN)

    def _attributes_of_own(self, collection: object) -> Iterator[str]:
        """The attributes that a list or dictionary of a person's own class has beside its values."""
        if is_own(type(collection).__module__):
            yield self.refer(type(collection), False)
            attributes = _attributes(collection) or {}
            yield from (f"{name}: {self.refer(value, False)}" for name, value in attributes.items())


def _plain_text(value: Any) -> str:
    """The text of a plain value, also of a class made of one, whose own `repr` may say anything."""
    if type(value) in PLAIN:
        return repr(value)
    kind: Any = next(kind for kind in PLAIN if isinstance(value, kind))
    return f"{_name_of_type(value)} {kind.__repr__(value)}"


def _graph_of(network: Any) -> str:
    """The operations of a network that TorchScript has compiled, without the places of their sources."""
    return str(network.inlined_graph.str(False))


def _array_text(array: Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(array, Tensor):
        return state_digest({"tensor": array.detach().to_dense() if array.is_sparse else array.detach()})
    if array.dtype.hasobject:  # its bytes are addresses
        raise TypeError
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype}{array.shape}{content}"


def _name_of_type(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _attributes(thing: Any) -> dict[str, Any] | None:
    """An object's attributes in the order of the alphabet, also those in slots; None for one that cannot have any."""
    slots: dict[str, Any] = {}
    for kind in type(thing).__mro__:
        names = vars(kind).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            is_private = name.startswith("__") and not name.endswith("__")
            attribute = f"_{kind.__name__.lstrip('_')}{name}" if is_private else name
            if attribute not in ("__dict__", "__weakref__") and hasattr(thing, attribute):
                slots[attribute] = getattr(thing, attribute)
    if not slots and not hasattr(thing, "__dict__"):
        return None
    return dict(sorted({**slots, **getattr(thing, "__dict__", {})}.items(), key=lambda item: str(item[0])))


def _copied_parts(thing: Any, key: str) -> list[Any]:
    """The parts that Python would copy an object by which has no attributes, such as a path or a date.

    Raises:
        Untold: there are none, as of a generator.
    """
    try:
        parts = thing.__reduce_ex__(4)
    except Exception:  # whatever a class does to refuse it
        raise Untold(_no_text(thing, key)) from None
    if isinstance(parts, str):
        return [_name_of_type(thing), parts]
    return [*parts[:3], *(list(values) for values in parts[3:5] if values is not None)]


def _no_text(thing: object, key: str) -> str:
    return (
        f"{key}: no run could be told from another by a {type(thing).__name__}, which says neither its source nor "
        "its settings: give a class, a function, or an object of a class of your own"
    )
