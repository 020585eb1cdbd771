"""A network that the metadata of a file name, built only where the file has its weights.

A file of a few bytes can name a network of any size. So it is built on PyTorch's meta device first, where tensors have
no values and take no memory, and compared with the file. What is registered in modules meanwhile is counted, so that
no network of more layers or weights than a file of that size can have is built to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.nn.parameter import is_lazy

LIBRARIES = ("kd_runner.", "torch.", "torchvision.", "timm.")  # whose networks can be built twice
# A network may replace what it had built, such as the last layer of published weights.
MOST_VALUES, TIMES_VALUES = 2**28, 4  # in parameters and buffers, beside those of the file, and for each of the file
MOST_PARTS, TIMES_PARTS = 2_000, 50  # modules, parameters and buffers, and those for each tensor of the file
DIFFERENT = "Error(s) in loading state_dict"  # PyTorch's words


class TooLargeError(ValueError):
    """A network that has more than its file."""


def build_bounded(state: Mapping[str, Tensor], build: Callable[[], Any], node: Any) -> Any:
    """The network that `build` returns; not built where the weights in `state` are those of a smaller network.

    Args:
        build: Builds the network that `node` names; called a second time for the network that is returned.

    Raises:
        TooLargeError: the network has many more weights, or layers, than the state.
        RuntimeError: names or shapes are not those of the state, in PyTorch's words.
    """
    if not _is_of_libraries(node):  # code of the person's own, or of a package that the person trusts
        return build()
    with _limit_registrations(state) as limit:
        _compare_on_meta(state, build)
        limit.raise_if_exceeded()
    with _limit_registrations(state) as limit:
        try:
            return build()
        except Exception:
            limit.raise_if_exceeded()
            raise


def _compare_on_meta(state: Mapping[str, Tensor], build: Callable[[], Any]) -> None:
    """Compare the state with the network, without values. Nothing is said where it cannot be built so.

    Raises:
        RuntimeError: names or shapes are not those of the state.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build()
            if isinstance(network, nn.Module):
                network.load_state_dict({name: tensor.to("meta") for name, tensor in state.items()})
    except RuntimeError as error:
        if str(error).startswith(DIFFERENT):
            raise
    except Exception:  # a network that looks at values while it is built, or is refused: the second time says why
        return


class _Limit:
    """Counts what is registered in modules of one thread, and raises where that is too much."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.thread = threading.get_ident()
        self.values = MOST_VALUES + TIMES_VALUES * sum(tensor.numel() for tensor in state.values())
        self.parts = MOST_PARTS + TIMES_PARTS * len(state)

    def count(self, _module: nn.Module, _name: str, part: Any) -> None:
        if threading.get_ident() != self.thread or part is None:
            return
        self.parts -= 1
        if isinstance(part, Tensor) and not is_lazy(part):
            self.values -= part.numel()
        self.raise_if_exceeded()

    def raise_if_exceeded(self) -> None:
        if self.values < 0:
            raise TooLargeError("that has many more weights")
        if self.parts < 0:
            raise TooLargeError("that has many more layers")


@contextmanager
def _limit_registrations(state: Mapping[str, Tensor]) -> Iterator[_Limit]:
    limit = _Limit(state)
    handles = [
        registration.register_module_parameter_registration_hook(limit.count),
        registration.register_module_buffer_registration_hook(limit.count),
        registration.register_module_module_registration_hook(limit.count),
    ]
    try:
        yield limit
    finally:
        for handle in handles:
            handle.remove()


def _is_of_libraries(node: Any) -> bool:
    """True where each `_target_` in a node is of a library whose networks have no other effect than to be there."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        return (target is None or str(target).startswith(LIBRARIES)) and all(map(_is_of_libraries, node.values()))
    return all(map(_is_of_libraries, node)) if isinstance(node, (list, tuple)) else True
