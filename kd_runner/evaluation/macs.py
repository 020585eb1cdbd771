"""Multiply-accumulates of a network's convolutions and matrix products, the same on every device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from kd_runner.errors import one_line
from kd_runner.notes import note

# Parts of the names of operators of two tensors or more that move, normalise, compare or interpolate numbers.
NO_PRODUCTS = (
    "norm", "cat", "stack", "copy", "scatter", "index", "where", "masked", "grid_sampler", "embedding", "thnn_fused",
    "prelu", "searchsorted", "bucketize", "equal", "set_", "pad", "resize", "repeat", "allclose", "isclose", "unpool",
    "lift", "alias", "dropout", "rrelu", "rsub", "floor_divide", "bernoulli", "histogram", "quantile",
)  # fmt: skip
BACKWARD = 2  # multiply-accumulates of a backward pass for each of a forward pass: gradients of inputs and of weights
FOR_PIXELS = 2  # the same of a forward pass and the gradient of the pixels alone, as of an attack's step
PRODUCTS = ("fft_", "linalg_", "cholesky", "triangular_solve", "matrix_exp", "lu_solve")  # of one tensor, too
BUILT_IN = ("aten", "prim", "prims", "profiler", "inductor_prims", "debugprims", "_c10d_functional")


def multiply_accumulates(network: nn.Module, image: Tensor, name: str = "network") -> int | None:
    """Multiply-accumulates of convolutions and matrix products when `network` is run on one image [1, C, H, W].

    Other arithmetic is not counted. A note names operators that seem to multiply matrices and have no formula. Where
    the network cannot be counted, a note says so and None is returned.

    Args:
        name: The network's name in notes.
    """
    network.eval()
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    unknown = _UnknownProducts(set(counter.flop_registry))
    try:
        with torch.no_grad(), _plain_operators(), unknown, counter:  # the last one sees the operators first
            network(image)
    except Exception as error:  # anyone's network, which has run without the counter
        note("cost", f"{name}: its MACs could not be counted ({one_line(error)}); compare its latency instead")
        return None
    if unknown.names:
        names = ", ".join(sorted(unknown.names))
        note("cost", f"{name}: its MACs leave out {names}, for which there is no formula; compare its latency instead")
    return counter.get_total_flops() // 2


@contextmanager
def counted_macs() -> Iterator[Callable[[], int]]:
    """Counts the multiply-accumulates of what runs in this block, with its backward passes; gives their number then."""
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    with _plain_operators(), counter:
        yield lambda: counter.get_total_flops() // 2


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Inside, attention, recurrent layers and compiled networks run as operators that the counter has formulas for."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [library.enabled for library in libraries]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        for library in libraries:
            library.enabled = False
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for library, value in zip(libraries, enabled, strict=True):
            library.enabled = value
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _formulas() -> dict[Any, Callable[..., int]]:
    """FLOPs, from shapes, of operators that FlopCounterMode does not know in every version of PyTorch."""
    aten = torch.ops.aten
    return {
        aten.mv: lambda matrix, vector, *_, **__: 2 * _size(matrix),
        aten.addmv: lambda addend, matrix, vector, *_, **__: 2 * _size(matrix),
        aten.dot: lambda first, second, *_, **__: 2 * _size(first),
        aten.vdot: lambda first, second, *_, **__: 2 * _size(first),
        aten.addbmm: lambda addend, first, second, *_, **__: 2 * _size(first) * second[-1],
        # A network that calls this kernel itself gets it, whatever `sdpa_kernel` says.
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    }


def _size(shape: Sequence[int]) -> int:
    return torch.Size(shape).numel()


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """FLOPs of attention, two products of matrices.

    Queries are [N, heads, L, C], keys [N, heads, S, C] and values [N, heads, S, V].
    """
    return 2 * _size(query[:-1]) * key[-2] * (query[-1] + value[-1])


class _UnknownProducts(TorchDispatchMode):
    """Collects the names of operators that may multiply matrices and are not in `counted`."""

    def __init__(self, counted: set[Any]) -> None:
        super().__init__()
        self.counted = counted
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        counted = not isinstance(func, torch._ops.OpOverload) or func.overloadpacket in self.counted
        if not counted and _may_multiply(func, tree_leaves((args, kwargs))):
            self.names.add(f"{func.namespace}.{func.overloadpacket.__name__}")
        return func(*args, **kwargs)


def _may_multiply(operator: Any, values: Sequence[Any]) -> bool:
    """True if `operator`, called with `values`, may do more than arithmetic of pairs of numbers."""
    name = operator.overloadpacket.__name__
    if operator.namespace not in BUILT_IN:
        return True
    if torch.Tag.pointwise in operator.tags or any(part in name for part in NO_PRODUCTS):
        return False
    numbers = [
        value for value in values if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    ]
    return len(numbers) > 1 or any(part in name for part in PRODUCTS)
