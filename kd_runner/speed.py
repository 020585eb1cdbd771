"""What makes a step cheaper without changing what it computes: mixed precision, compiling, folded batch norms."""

from __future__ import annotations

import copy
import functools
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kd_runner.config import Precision, RunFailed

DTYPES = {"32": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
EXACT = 1e-4  # of the largest logit: how far a folded network may be off


def slow_bfloat16(device: torch.device) -> bool:
    """Whether `device` is a CPU that has no instructions for bfloat16 and makes do with float32's and conversions."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return has is not None and not has()


class Mixed:
    """Automatic mixed precision: networks run under `autocast`, and `step` scales the loss where float16 needs it."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.dtype, self.device = DTYPES[precision], device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")

    def autocast(self) -> AbstractContextManager[Any]:
        """To be left before the optimizer steps: inside, low-precision copies of the weights are kept."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def step(self, losses: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """A step along the gradient of the sum of `losses`.

        An optimizer with a method `keep(name)` is shown the gradient of each loss by itself before it steps.
        """
        keep = getattr(optimizer, "keep", None)
        if keep is None:
            self._backward(functools.reduce(torch.add, losses.values()), optimizer)
        else:
            left = len(losses)
            for name, loss in losses.items():
                left -= 1
                if loss.requires_grad:
                    self._backward(loss, optimizer, retain_graph=left > 0)
                    keep(name)
        if self.scaler.is_enabled():
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()

    def _backward(self, loss: Tensor, optimizer: torch.optim.Optimizer, retain_graph: bool = False) -> None:
        for group in optimizer.param_groups:  # what zero_grad does, less its profiling
            for parameter in group["params"]:
                parameter.grad = None
        self.scaler.scale(loss).backward(retain_graph=retain_graph)


def compiled(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`call` compiled for the shape of the first batch; a smaller last one takes the usual way.

    The result raises RunFailed where PyTorch's compiler fails, for want of a C++ compiler, say.
    """
    from torch._dynamo.exc import TorchDynamoException

    fast = torch.compile(call, dynamic=False)
    shapes: list[torch.Size] = []

    def either(images: Tensor) -> Tensor:
        if not shapes:
            shapes.append(images.shape)
        if images.shape != shapes[0]:
            return call(images)
        try:
            return fast(images)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise RunFailed(f"trainer.compile: the network cannot be compiled here, got {reason}") from error

    return either


def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of `network`, in evaluation mode, whose batch norms have become part of the convolutions before them.

    The network itself comes back where it has none of these, cannot be traced, or would give other logits:
    the two are compared on a few of `images` [N, C, H, W].
    """
    try:
        # On the CPU, where float32 is float32: a GPU's convolutions may round to TF32, more than folding does.
        original, sample = copy.deepcopy(network).cpu(), images[:8].cpu()
        candidate = _folded(fx.symbolic_trace(original))
        if candidate is None:
            return network
        with torch.inference_mode():
            wanted, given = original(sample), candidate(sample)
            if images.device.type != "cpu":
                candidate = candidate.to(images.device)
                candidate(images[:8])  # what was traced must not be tied to the CPU
    except Exception:  # a network of anyone's: what cannot be traced or folded runs as it is
        return network
    off = (wanted - given).abs().max() / wanted.abs().max().clamp_min(1e-12)
    return candidate if bool(off <= EXACT) else network


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
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph if count else None
