"""The same network, faster: batch norms fold_batch_norms into convolutions, or compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kd_runner.errors import RunFailed

EXACT = 1e-4  # of the largest logit: how far a fold_batch_norms network may be off


def compile_call(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
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


def fold_batch_norms(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of `network`, in evaluation mode, whose batch norms have become part of the convolutions before them.

    The network itself comes back where it has none of these, cannot be traced, or would give other logits:
    the two are compared on a few of `images` [N, C, H, W].
    """
    try:
        # On the CPU, where float32 is float32: a GPU's convolutions may round to TF32, more than folding does.
        original, sample = copy.deepcopy(network).cpu(), images[:8].cpu()
        candidate = _fold_graph(fx.symbolic_trace(original))
        if candidate is None:
            return network
        with torch.inference_mode():
            wanted, given = original(sample), candidate(sample)
            if images.device.type != "cpu":
                candidate = candidate.to(images.device)
                candidate(images[:8])  # what was traced must not be tied to the CPU
    except Exception:  # a network of anyone's: what cannot be traced or fold_batch_norms runs as it is
        return network
    off = (wanted - given).abs().max() / wanted.abs().max().clamp_min(1e-12)
    return candidate if bool(off <= EXACT) else network


def _fold_graph(graph: fx.GraphModule) -> fx.GraphModule | None:
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
