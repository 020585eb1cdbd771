"""Plain values that people save beside weights, read without the classes that their pickles name.

torch's restricted unpickler (`weights_only=True`) calls what is allowed by name and nothing else. Under the names in
`STAND_INS` it is given classes of this module, which keep nothing and do nothing: neither NumPy's functions nor
`argparse.Namespace` itself ever see what the file says. A NumPy scalar of dtype object, whose bytes NumPy would
unpickle, is therefore as harmless as any other. NumPy arrays alone keep their bytes, so that they can become tensors.
"""

from __future__ import annotations

import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")  # NumPy's dtypes that torch has, too
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first pickle in a file of torch.save before version 1.6
LEGACY_PICKLES = 4  # the magic number, the protocol, the machine, and what was saved
MOST_TEXTS = 1000  # of a pickle that are kept
MOST_OPERATIONS = 2_000_000  # of a pickle that are looked at for the names in it


class Ignored:
    """An object that takes any arguments and any state, and keeps none."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class NumpyType(Ignored):
    """A NumPy dtype by its code, such as 'f4', and its order of bytes."""

    __slots__ = ("code", "order")

    def __new__(cls, code: Any = None, *_: Any, **__: Any) -> Any:
        made = super().__new__(cls)
        made.code, made.order = code, "="
        return made

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = state[1]


class NumpyArray(Ignored):
    """A NumPy array as its pickle has it: shape, dtype and bytes."""

    __slots__ = ("state",)

    def __new__(cls, *_: Any, **__: Any) -> Any:
        made = super().__new__(cls)
        made.state = None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def tensor(self) -> Tensor | None:
        """The array as a tensor; None where it does not hold plain numbers."""
        try:
            _, shape, kind, fortran, data = self.state
            if kind.code not in NUMBERS or kind.order not in ("<", ">", "=", "|") or type(data) is not bytes:
                return None
            dtype = np.dtype(kind.code).newbyteorder(kind.order)
            if any(type(size) is not int or size < 0 for size in shape) or prod(shape) * dtype.itemsize != len(data):
                return None
            array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
            return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C"))
        except (TypeError, ValueError, AttributeError, OverflowError):  # no state that NumPy would have written
            return None


class _Dictionary:
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()  # the one mapping that torch's unpickler fills and lets have a state


class _Bytes:
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return b""  # the one object that is pickled so; others have their bytes in a text


class _List:
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return []


# Each name is of a class that only holds values, or of a function that makes one.
_VALUES = """
argparse.Namespace types.SimpleNamespace
builtins.int builtins.float builtins.bool builtins.str builtins.list builtins.tuple builtins.dict
builtins.frozenset builtins.slice builtins.range
pathlib.Path pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath
pathlib._local.Path pathlib._local.PosixPath pathlib._local.WindowsPath pathlib._local.PurePosixPath
pathlib._local.PureWindowsPath
datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone uuid.UUID decimal.Decimal
numpy.ndarray numpy.core.multiarray.scalar numpy._core.multiarray.scalar
numpy.bool_ numpy.float16 numpy.float32 numpy.float64 numpy.int8 numpy.int16 numpy.int32 numpy.int64 numpy.uint8
torch.torch_version.TorchVersion typing.Any
omegaconf.dictconfig.DictConfig omegaconf.listconfig.ListConfig omegaconf.base.ContainerMetadata
omegaconf.base.Metadata omegaconf.base.SCMode omegaconf.nodes.AnyNode omegaconf.nodes.StringNode
omegaconf.nodes.IntegerNode omegaconf.nodes.FloatNode omegaconf.nodes.BooleanNode
"""
_DICTIONARIES = """
collections.defaultdict easydict.EasyDict addict.addict.Dict munch.Munch yacs.config.CfgNode
fvcore.common.config.CfgNode pytorch_lightning.utilities.parsing.AttributeDict
lightning.pytorch.utilities.parsing.AttributeDict lightning_fabric.utilities.data.AttributeDict
lightning.fabric.utilities.data.AttributeDict
"""
STAND_INS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_VALUES.split(), Ignored),
    **dict.fromkeys(_DICTIONARIES.split(), _Dictionary),
    "builtins.bytes": _Bytes,
    "collections.deque": _List,
    "numpy.dtype": NumpyType,
    "numpy.core.multiarray._reconstruct": NumpyArray,
    "numpy._core.multiarray._reconstruct": NumpyArray,
}
# What torch reads of itself, and what its pickles use to write bytes and dictionaries.
_OF_TORCH = ("torch._utils.", "torch._tensor.", "torch.storage.", "torch.serialization.")
_OF_TORCH_ITSELF = ("torch.nn.parameter.Parameter", "collections.OrderedDict", "collections.Counter", "_codecs.encode")
# Modules of Python whose classes stand in networks that were saved whole.
_OF_NETWORKS = ("abc", "collections", "copyreg", "dataclasses", "datetime", "enum", "functools", "logging", "math")
_OF_BUILTINS = ("builtins.bytearray", "builtins.set", "builtins.complex", "builtins.long")


def allowed_stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """The stand-ins as `torch.serialization.safe_globals` takes them."""
    return [(stand_in, name) for name, stand_in in STAND_INS.items()]


@dataclass(frozen=True)
class Asked:
    """What the pickles of a file ask for that is not read here.

    Args:
        names: The classes and functions, each once.
        key: The last text before the first of them, which is its key where it stands in a dictionary.
        alone: Whether the first of them is all that was saved, and stands in no dictionary.
        texts: The first texts of the pickles, among which are the keys of a dictionary.
        protocol: The highest version of the pickle format among them.
    """

    names: list[str]
    key: str
    alone: bool
    texts: frozenset[str]
    protocol: int

    @property
    def suspicious(self) -> list[str]:
        """The names that no weights and no network need: Python's own functions, and functions of others."""
        return [name for name in self.names if _is_suspicious(name)]


def requested_globals(file: IO[bytes], pickles: int = 1) -> Asked:
    """What the first pickles in `file` ask for, none of which is loaded: their operations are listed.

    A broken pickle is read as far as that goes.
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
    return Asked(list(names), key, alone, frozenset(texts), protocol)


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
    """The 'name's, 'text's and 'protocol's in the pickles, with the last text and the number of operations before."""
    left = MOST_OPERATIONS
    try:
        for _ in range(pickles):
            texts, memo, last, count = ["", ""], dict[int, Any](), None, 0
            operations: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(file)
            for operation, argument, _position in operations:
                left -= 1
                if left < 0:
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
