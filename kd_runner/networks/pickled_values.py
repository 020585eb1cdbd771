"""Plain values that people save beside weights, read without the classes that their pickles name.

torch's restricted unpickler (`weights_only=True`) calls what is allowed by name and nothing else. Under the names in
`STAND_INS` it is given classes of this module, which keep nothing and do nothing: neither NumPy's functions nor
`argparse.Namespace` itself ever see the file's content. A NumPy scalar of dtype object, whose bytes NumPy would
unpickle, is therefore as harmless as any other. Only NumPy's arrays and scalars keep their bytes, which become tensors
and numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")  # NumPy's dtypes that torch has, too


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
        dtype = super().__new__(cls)
        dtype.code, dtype.order = code, "="
        return dtype

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = state[1]


class NumpyArray(Ignored):
    """A NumPy array as it is pickled: shape, dtype and bytes."""

    __slots__ = ("state",)

    def __new__(cls, *_: Any, **__: Any) -> Any:
        array = super().__new__(cls)
        array.state = None
        return array

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


class NumpyScalar(Ignored):
    """A NumPy scalar as it is pickled: dtype and bytes."""

    __slots__ = ("content", "dtype")
    dtype: Any
    content: Any

    def __new__(cls, dtype: Any = None, content: Any = None, *_: Any, **__: Any) -> Any:
        scalar = super().__new__(cls)
        scalar.dtype, scalar.content = dtype, content
        return scalar

    def number(self) -> float | int | bool | None:
        """The scalar as Python's number; None where it is no plain number."""
        array = NumpyArray()
        array.__setstate__((1, (), self.dtype, False, self.content))
        tensor = array.tensor()
        return None if tensor is None else tensor.item()


class _Dictionary:
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()  # the one mapping that torch's unpickler fills and lets have a state


class _Bytes:
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return b""  # only empty bytes are pickled so; others have their bytes in a text


class _List:
    def __new__(cls, *_: Any, **__: Any) -> Any:
        return []


# Names of classes that only hold values, and of functions that make one.
_VALUES = """
argparse.Namespace types.SimpleNamespace
builtins.int builtins.float builtins.bool builtins.str builtins.list builtins.tuple builtins.dict
builtins.frozenset builtins.slice builtins.range
pathlib.Path pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath
pathlib._local.Path pathlib._local.PosixPath pathlib._local.WindowsPath pathlib._local.PurePosixPath
pathlib._local.PureWindowsPath
datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone uuid.UUID decimal.Decimal
numpy.ndarray
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
    "numpy.core.multiarray.scalar": NumpyScalar,
    "numpy._core.multiarray.scalar": NumpyScalar,
    "numpy.dtype": NumpyType,
    "numpy.core.multiarray._reconstruct": NumpyArray,
    "numpy._core.multiarray._reconstruct": NumpyArray,
}


def allowed_stand_ins() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """The stand-ins as `torch.serialization.safe_globals` takes them."""
    return [(stand_in, name) for name, stand_in in STAND_INS.items()]
