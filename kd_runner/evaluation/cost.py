"""The cost of a network: parameters, multiply-accumulates, seconds."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn

from kd_runner.evaluation.macs import multiply_accumulates

# The number of passes of one image that are timed, after a few that are not.
WARM_UP, FEWEST_PASSES, MOST_PASSES, LATENCY_SECONDS = 3, 5, 50, 0.1


def cost(network: nn.Module, image: Tensor, name: str = "network") -> dict[str, int | None]:
    """Parameters, and multiply-accumulates of convolutions and matrix products for one image [1, C, H, W].

    'macs' is None where they cannot be counted, which a note says.

    Args:
        name: The network's name in notes.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": multiply_accumulates(network, image, name),
    }


def latency(network: nn.Module, image: Tensor) -> float:
    """Seconds of one forward pass of one image [1, C, H, W] on the device where it is: the median of 5 to 50 passes.

    Other jobs on the same machine and a small number of threads make it longer.
    """
    # Not torch.utils.benchmark.Timer: it measures blocks of passes, so that its median is one of means. Beside other
    # jobs it gave 112 µs for one dense layer, of which the median pass takes 11 µs; a pass of 0.1 s or more it times
    # once. Importing it takes 0.2 to 0.8 s and, without a GPU, warns about CUDA.

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
