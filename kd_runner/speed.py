"""What makes a step cheaper without changing what it computes: mixed precision, compiling, folded batch norms."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

log = logging.getLogger(__name__)

Precision = Literal["32", "bf16-mixed", "16-mixed"]
DTYPES = {"32": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
EXACT = 1e-4  # of the largest logit: how far a folded network may be off


class Mixed:
    """Automatic mixed precision: networks run under `autocast`, and `step` scales the loss where float16 needs it."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.dtype, self.device = DTYPES[precision], device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")

    def autocast(self) -> AbstractContextManager[Any]:
        """To be left before the optimizer steps: inside, low-precision copies of the weights are kept."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of `loss`, and a step along them."""
        for group in optimizer.param_groups:  # what zero_grad does, less its profiling
            for parameter in group["params"]:
                parameter.grad = None
        if not self.scaler.is_enabled():
            loss.backward()
            optimizer.step()
            return
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()


def compiled(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`call` compiled for the shape of the first batch; a smaller last one takes the usual way."""
    fast = torch.compile(call, dynamic=False)
    shapes: list[torch.Size] = []

    def either(images: Tensor) -> Tensor:
        if not shapes:
            shapes.append(images.shape)
        return (fast if images.shape == shapes[0] else call)(images)

    return either


def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of `network`, in evaluation mode, whose batch norms have become part of the convolutions before them.

    The network itself comes back where it has none of these, cannot be traced, or would give other logits:
    the two are compared on `images` [N, C, H, W].
    """
    try:
        copy = _folded(fx.symbolic_trace(network))
    except Exception:  # a network of anyone's: what cannot be traced runs as it is
        return network
    if copy is None:
        return network
    with torch.inference_mode():
        wanted, given = network(images), copy(images)
    off = (wanted - given).abs().max() / wanted.abs().max().clamp_min(1e-12)
    return copy if bool(off <= EXACT) else network


def _folded(graph: fx.GraphModule) -> fx.GraphModule | None:
    modules = dict(graph.named_modules())
    count = 0
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[str(node.target)], nn.BatchNorm2d):
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) > 1 or type(modules[str(before.target)]) is not nn.Conv2d:
            continue
        if sum(other.target == before.target for other in graph.graph.nodes) > 1:
            continue  # a convolution that is used twice
        fused = fuse_conv_bn_eval(modules[str(before.target)], modules[str(node.target)])
        parent, _, name = str(before.target).rpartition(".")
        setattr(graph.get_submodule(parent), name, fused)
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
        count += 1
    graph.recompile()
    return graph if count else None
