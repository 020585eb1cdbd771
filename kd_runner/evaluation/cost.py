"""What a network costs: parameters, multiply-accumulates, seconds."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn

from kd_runner.evaluation.macs import multiply_accumulates

# How many passes of one image are timed, after some that are not.
WARM_UP, FEWEST_PASSES, MOST_PASSES, LATENCY_SECONDS = 3, 5, 50, 0.1


def cost(network: nn.Module, image: Tensor, name: str = "network") -> dict[str, int | None]:
    """Parameters, and multiply-accumulates of convolutions and matrix products for one image [1, C, H, W].

    'macs' is None where they cannot be counted, which a note says.

    Args:
        name: What a note about the network calls it.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": multiply_accumulates(network, image, name),
    }


def latency(network: nn.Module, image: Tensor) -> float:
    """Seconds of one forward pass of one image [1, C, H, W], as it is on its device: the median of some passes.

    It is what the machine gives at that moment: other jobs beside this one, and few threads, show in it.
    """

    def seconds() -> float:
        started = time.perf_counter()
        network(image)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        return time.perf_counter() - started

    network.eval()
    with torch.inference_mode():
        for _ in range(WARM_UP):
            seconds()
        until = time.perf_counter() + LATENCY_SECONDS
        passes: list[float] = []
        while len(passes) < FEWEST_PASSES or (len(passes) < MOST_PASSES and time.perf_counter() < until):
            passes.append(seconds())
    return statistics.median(passes)
