"""The same network, faster: compiled, or with its batch norms folded into the layers in front of them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from kd_runner.errors import RunFailed

# The largest difference between the logits of a folded network and its own, as a share of the largest logit.
TOLERANCE = 1e-4


def compile_call(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`call` compiled for the shape of the first batch; batches of other shapes, such as the last, run uncompiled.

    The result raises RunFailed where PyTorch's compiler fails, for want of a C++ compiler, say.
    """
    from torch._dynamo.exc import TorchDynamoException

    compiled = torch.compile(call, dynamic=False)
    shapes: list[torch.Size] = []

    def call_compiled(images: Tensor) -> Tensor:
        if not shapes:
            shapes.append(images.shape)
        if images.shape != shapes[0]:
            return call(images)
        try:
            return compiled(images)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise RunFailed(f"trainer.compile: the network cannot be compiled here, got {reason}") from error

    return call_compiled


def fold_batch_norms(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of `network`, in evaluation mode, whose batch norms have become part of the layers in front of them.

    The network itself comes back where it has no such batch norms, cannot be traced, or would give other logits:
    the two are compared on a few of `images` [N, C, H, W]. So it does where one convolution is used twice, which
    PyTorch's `fuse` would fold twice.
    """
    try:
        # On the CPU, where float32 is float32: a GPU's convolutions may round to TF32, more than folding does.
        original, sample = copy.deepcopy(network).cpu(), images[:8].cpu()
        traced = fx.symbolic_trace(original)
        folded = fuse(traced, no_trace=True)
        if _batch_norms(folded) == _batch_norms(traced):
            return network
        with torch.inference_mode():
            logits, folded_logits = original(sample), folded(sample)
            if images.device.type != "cpu":
                folded = folded.to(images.device)
                folded(images[:8])  # a traced network may be tied to the CPU
    except Exception:  # anyone's network: one that cannot be traced or folded runs as it is
        return network
    difference = (logits - folded_logits).abs().max() / logits.abs().max().clamp_min(1e-12)
    return folded if bool(difference <= TOLERANCE) else network


def _batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
