"""Files read by several threads, where one takes long enough."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIED = 8  # files, whose time decides for those after them
AT_ONCE = 256  # files, among which some are tried: those of a folder may be large ones behind small ones
QUICK = 0.0005  # seconds: of quicker ones Python runs the code around the decoder, which one thread does at a time


def results_in_order(pool: Executor, read: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`read` of each of `items`, in their order: by the threads of `pool`, or by this one where files are quick.

    Threads that read small files wait for one another (`benchmarks/decoding.py`): the 60,000 images of CIFAR-10 took
    six threads on two cores twice as long as one.
    """
    parts = (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
    return list(itertools.chain.from_iterable(_results_of_part(pool, read, part) for part in parts))


def _results_of_part(pool: Executor, read: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    results: list[Result] = []
    end = time.perf_counter() + QUICK * TRIED
    for item in items[:TRIED]:
        results.append(read(item))
        if time.perf_counter() > end:
            return results + list(pool.map(read, items[len(results) :]))
    return results + list(map(read, items[TRIED:]))
