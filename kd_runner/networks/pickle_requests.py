"""The classes and functions that a pickle asks for, listed without loading it."""

from __future__ import annotations

import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from kd_runner.networks.pickled_values import STAND_INS

LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first pickle in a file of torch.save before version 1.6
LEGACY_PICKLES = 4  # the magic number, the protocol, the machine, and the saved content
MOST_TEXTS = 1000  # texts of a pickle that are remembered
MOST_OPERATIONS = 2_000_000  # operations of the pickles that are searched for names
# Names in torch's own pickles, and those with which they write bytes and dictionaries.
_OF_TORCH = ("torch._utils.", "torch._tensor.", "torch.storage.", "torch.serialization.")
_OF_TORCH_ITSELF = ("torch.nn.parameter.Parameter", "collections.OrderedDict", "collections.Counter", "_codecs.encode")
# Modules of Python whose classes stand in networks that were saved with their code.
_OF_NETWORKS = ("abc", "collections", "copyreg", "dataclasses", "datetime", "enum", "functools", "logging", "math")
_OF_BUILTINS = ("builtins.bytearray", "builtins.set", "builtins.complex", "builtins.long")


@dataclass(frozen=True)
class PickleRequests:
    """Requests of a file's pickles that are not granted here.

    Args:
        names: The classes and functions, each once.
        key: The last text before the first of the names: its key, where it stands in a dictionary.
        alone: True if the first of the names is all that was saved, and stands in no dictionary.
        texts: The first texts of the pickles, among which are the keys of a dictionary.
        protocol: The highest version of the pickle format in the pickles.
    """

    names: list[str]
    key: str
    alone: bool
    texts: frozenset[str]
    protocol: int

    @property
    def suspicious(self) -> list[str]:
        """The names that no weights and no network need: functions of Python and of other packages."""
        return [name for name in self.names if _is_suspicious(name)]


def requested_globals(file: IO[bytes], pickles: int = 1) -> PickleRequests:
    """The requests of the first `pickles` pickles in `file`, from their operations; nothing is loaded.

    A broken pickle is read up to its first error.
    """
    names: dict[str, None] = {}
    texts: dict[str, None] = {}
    key, alone, protocol = "", False, 0
    for kind, value, before, count in _names_of(file, pickles):
        if kind == "protocol":
            protocol = max(protocol, value)
        elif kind == "text" and len(texts) < MOST_TEXTS:
            texts[value] = None
        elif kind == "name" and not _is_plain(value):
            if not names:
                key, alone = before, count == 0
            names[value] = None
    return PickleRequests(list(names), key, alone, frozenset(texts), protocol)


def _is_suspicious(name: str) -> bool:
    module, _, last = name.rpartition(".")
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return top not in _OF_NETWORKS
    return last[:1].islower() and not module.startswith("torch.nn.")


def _is_plain(name: str) -> bool:
    if name in STAND_INS or name in _OF_TORCH_ITSELF or name in _OF_BUILTINS or name.startswith(_OF_TORCH):
        return True
    return name.startswith("torch.") and name.count(".") == 1  # dtypes, storages, Size, device


def _names_of(file: IO[bytes], pickles: int) -> Iterator[tuple[str, Any, str, int]]:
    """The names, texts and protocols in the pickles.

    Each is its kind ('name', 'text' or 'protocol'), its value, the text before it, and the number of operations
    before it.
    """
    budget = MOST_OPERATIONS
    try:
        for _ in range(pickles):
            texts, memo, last, count = ["", ""], dict[int, Any](), None, 0
            operations: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(file)
            for operation, argument, _position in operations:
                budget -= 1
                if budget < 0:
                    return
                if operation.name == "GLOBAL":
                    yield "name", _dotted_name(*str(argument).split(" ", 1)), texts[1], count
                elif operation.name == "STACK_GLOBAL":
                    yield "name", _dotted_name(*texts), "", count
                elif operation.name == "PROTO":
                    yield "protocol", argument, texts[1], count
                count += operation.name not in ("PROTO", "FRAME")
                if operation.name == "MEMOIZE":
                    memo[len(memo)] = last
                elif operation.name in ("PUT", "BINPUT", "LONG_BINPUT"):
                    memo[argument] = last
                else:
                    last = memo.get(argument) if operation.name in ("GET", "BINGET", "LONG_BINGET") else argument
                    if isinstance(last, str) and operation.name != "GLOBAL":
                        texts = [texts[1], last]
                        yield "text", last, texts[0], count
    except Exception:  # a broken pickle
        return


def _dotted_name(module: str, name: str = "") -> str:
    """The name with a dot, as Python 3 has it: pickles of protocol 2 use Python 2's."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"
