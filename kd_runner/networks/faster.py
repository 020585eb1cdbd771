"""The same network, faster: compiled, or frozen, with its batch norms folded into the layers in front of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from kd_runner.errors import RunFailed

# The largest difference between the logits of a frozen network and its own, as a share of the largest logit.
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


def faster_frozen(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of `network`, in evaluation mode and for inference alone, that gives the same logits sooner.

    Batch norms become part of the layers in front of them. On a CPU, 2x2 max-pooling is made of maxima, and ReLUs
    behind convolutions, dense layers and pools write over their inputs: both leave every bit alone.

    The network itself comes back where it has none of these, cannot be traced, or would give other logits: the two are
    compared on a few of `images` [N, C, H, W]. So it does where one convolution is used twice, which PyTorch's `fuse`
    would fold twice.
    """
    try:
        # On the CPU, where float32 is float32: a GPU's convolutions may round to TF32, more than folding does.
        original, sample = copy.deepcopy(network).cpu(), images[:8].cpu()
        traced = fx.symbolic_trace(original)
        faster = fuse(traced, no_trace=True)
        assert isinstance(faster, fx.GraphModule)
        is_changed = _count(faster, nn.modules.batchnorm._BatchNorm) != _count(traced, nn.modules.batchnorm._BatchNorm)
        if images.device.type == "cpu":
            is_changed |= _pool_by_maxima(faster)
            _write_over_inputs(faster)
        if not is_changed:
            return network
        with torch.inference_mode():
            logits, faster_logits = original(sample), faster(sample)
            if images.device.type != "cpu":
                faster = faster.to(images.device)
                faster(images[:8])  # a traced network may be tied to the CPU
    except Exception:  # anyone's network: one that cannot be traced or folded runs as it is
        return network
    difference = (logits - faster_logits).abs().max() / logits.abs().max().clamp_min(1e-12)
    return faster if bool(difference <= TOLERANCE) else network


class MaximaPool(nn.Module):
    """2x2 max-pooling of maps [N, C, H, W] as two maxima of their halves: the values of nn.MaxPool2d(2).

    PyTorch's max-pooling also finds where each maximum is, for a gradient that a frozen network never asks for.
    """

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2] // 2 * 2, maps.shape[3] // 2 * 2  # an odd last row or column is left out
        rows = torch.maximum(maps[:, :, 0:height:2, :width], maps[:, :, 1:height:2, :width])
        return torch.maximum(rows[..., 0::2], rows[..., 1::2])


def _pool_by_maxima(traced: fx.GraphModule) -> bool:
    """Replace 2x2 max-pooling in the network; returns True where there was any."""
    pools = [name for name, module in traced.named_modules() if _is_two_by_two_pool(module)]
    for name in pools:
        traced.set_submodule(name, MaximaPool())
    return bool(pools)


def _is_two_by_two_pool(module: nn.Module) -> bool:
    return (
        type(module) is nn.MaxPool2d
        and (module.kernel_size, module.stride) in [(2, 2), ((2, 2), (2, 2))]
        and (module.padding, module.dilation) in [(0, 1), ((0, 0), (1, 1))]
        and not module.return_indices
        and not module.ceil_mode
    )


def _write_over_inputs(traced: fx.GraphModule) -> None:
    """Let ReLUs write over what a layer has just made for them alone."""
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if node.op == "call_module" and type(modules[node.target]) is nn.ReLU and _is_made_for(node, modules):
            name = f"{node.target}_over_its_input"
            traced.add_submodule(name, nn.ReLU(inplace=True))
            node.target = name
    traced.recompile()


def _is_made_for(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """True where the node's input is memory of its own, which only the node reads. An Identity's output is not."""
    source = node.args[0] if node.args else None
    return (
        isinstance(source, fx.Node)
        and source.op == "call_module"
        and len(source.users) == 1
        and isinstance(modules[str(source.target)], (nn.Conv2d, nn.Linear, MaximaPool))
    )


def _count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())
