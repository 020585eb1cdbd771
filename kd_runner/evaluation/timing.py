"""The time of passes through a network, or through anything else that answers images."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# The number of passes of one image that are timed, after a few that are not.
WARM_UP, FEWEST_PASSES, MOST_PASSES, LATENCY_SECONDS = 3, 5, 50, 0.1
# The same of a large batch.
FEWEST_BATCHES, MOST_BATCHES = 3, 20


def latency(network: nn.Module, image: Tensor) -> float:
    """Seconds of one forward pass of one image [1, C, H, W] on the device where it is: the median of 5 to 50 passes.

    Other jobs on the same machine and a small number of threads make it longer.
    """
    return statistics.median(times_of_network(network, image))


def times_of_network(
    network: nn.Module, images: Tensor, fewest: int = FEWEST_PASSES, most: int = MOST_PASSES
) -> list[float]:
    """Seconds of forward passes of images [N, C, H, W] on the device where they are, warm."""

    def run() -> None:
        network(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    network.eval()
    with torch.inference_mode():
        return times_of(run, fewest, most)


def times_of(run: Callable[[], object], fewest: int = FEWEST_PASSES, most: int = MOST_PASSES) -> list[float]:
    """Seconds of calls of `run`, which ends when its answer is there; after 3 calls that are not timed.

    Args:
        fewest: Calls that are timed, whatever they take.
        most: Calls after which it ends before 0.1 s are over.
    """
    # Not torch.utils.benchmark.Timer: it measures blocks of passes, so that its median is one of means. Beside other
    # jobs it gave 112 µs for one dense layer, of which the median pass takes 11 µs; a pass of 0.1 s or more it times
    # once. Importing it takes 0.2 to 0.8 s and, without a GPU, warns about CUDA.

    def seconds() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    for _ in range(min(WARM_UP, fewest)):
        seconds()
    until = time.perf_counter() + LATENCY_SECONDS
    passes: list[float] = []
    while len(passes) < fewest or (len(passes) < most and time.perf_counter() < until):
        passes.append(seconds())
    return passes


def timing(passes: Sequence[float], images: int) -> dict[str, Any]:
    """The record of some passes of `images` images: seconds of the median and of the 95th percentile, and how many.

    The 95th percentile is one of the passes, the first that 95 % of all do not exceed; of fewer than 20 the longest.
    """
    ordered = sorted(passes)
    return {
        "images": images,
        "median": statistics.median(ordered),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "passes": len(ordered),
    }
