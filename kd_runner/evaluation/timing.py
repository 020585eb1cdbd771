"""The time of passes through a network, or through anything else that answers images."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# The number of passes of one image that are timed, after a few that are not.
WARM_UP, FEWEST_PASSES, MOST_PASSES, LATENCY_SECONDS = 3, 5, 50, 0.1
TURN_PASSES, TURN_SECONDS = 5, 0.01  # of one network, until the next one's turn
# The same of a large batch.
FEWEST_BATCHES, MOST_BATCHES = 3, 20


def latency(network: nn.Module, image: Tensor) -> float:
    """Seconds of one forward pass of one image [1, C, H, W] on the device where it is: the median of 5 to 50 passes.

    Other jobs on the same machine and a small number of threads make it longer.
    """
    return statistics.median(times_of_networks([network], image)[0])


def times_of_networks(
    networks: Sequence[nn.Module], images: Tensor, fewest: int = FEWEST_PASSES, most: int = MOST_PASSES
) -> list[list[float]]:
    """Seconds of forward passes of images [N, C, H, W] on the device where they are, of each network, in turns."""

    def run(network: nn.Module) -> None:
        network(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    for network in networks:
        network.eval()
    with torch.inference_mode():
        return times_in_turns([functools.partial(run, network) for network in networks], fewest, most)


def times_in_turns(
    runs: Sequence[Callable[[], object]], fewest: int = FEWEST_PASSES, most: int = MOST_PASSES
) -> list[list[float]]:
    """Seconds of calls of each of `runs`, which take turns, so that other jobs of the machine meet all of them alike.

    A turn is up to 5 calls, within 0.01 s. A short call goes before it untimed: the turns of others leave the caches
    cold, and a large network's would make a small one look slow.

    Args:
        fewest: Calls of each that are timed, whatever they take.
        most: Calls of each after which it ends before 0.1 s for each are over.
    """
    # Not torch.utils.benchmark.Timer: it measures blocks of passes, so that its median is one of means. Beside other
    # jobs it gave 112 µs for one dense layer, of which the median pass takes 11 µs; a pass of 0.1 s or more it times
    # once. Importing it takes 0.2 to 0.8 s and, without a GPU, warns about CUDA.
    for run in runs:
        for _ in range(min(WARM_UP, fewest)):
            run()
    passes: list[list[float]] = [[] for _ in runs]
    until = time.perf_counter() + LATENCY_SECONDS * len(runs)
    while any(len(times) < fewest or (len(times) < most and time.perf_counter() < until) for times in passes):
        for run, times in zip(runs, passes, strict=True):
            if len(times) >= most:
                continue
            if len(runs) > 1 and (not times or times[-1] < TURN_SECONDS):
                run()
            turn_until = time.perf_counter() + TURN_SECONDS
            for _ in range(min(TURN_PASSES, most - len(times))):
                times.append(_seconds(run))
                if time.perf_counter() >= turn_until:
                    break
    return passes


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


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
