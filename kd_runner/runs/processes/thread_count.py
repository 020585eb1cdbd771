"""The number of CPU threads of a run: one for small networks, where more do not help, and PyTorch's choice for others.

The number shows in the last bits of what is computed. So a measured choice is written into the store, and the same
command makes it again, whatever else the machine does by then.
"""

from __future__ import annotations

import copy
import logging
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from kd_runner.config.fingerprint import ADDED_TO_NETWORKS, digest, without_defaults
from kd_runner.config.settings import Settings
from kd_runner.environment import processor_name
from kd_runner.errors import RunFailed
from kd_runner.files import atomic
from kd_runner.files.home import with_home
from kd_runner.files.locks import lock_of
from kd_runner.runs.data import Data
from kd_runner.runs.stages.teacher_student import noise

log = logging.getLogger(__name__)

CHOICES = "threads.json"  # the file of all choices, in the store
SMALL = 0.05  # seconds of a step on one thread: longer ones get all threads, unmeasured
WORTH = 1.1  # more threads are used where they are at least this many times faster
FEW = 4  # images of a first step, so that a large network does not take long
WAIT = 60.0  # seconds, at most, for another job that measures
ROUNDS, LONGEST = 15, 2.0  # the rounds of measuring one thread and all in turn, and the seconds they may take


def choose_threads(settings: Settings, data: Data, networks: Sequence[nn.Module]) -> int:
    """Set the number of threads for a run on a CPU whose settings leave it open.

    Args:
        networks: The networks of the run, which are copied and tried.

    Returns:
        The number of threads.
    """
    available = torch.get_num_threads()
    if available == 1 or settings.trainer.threads is not None or data.device.type != "cpu":
        return available
    key = _key(settings, data, available)
    chosen = _stored_or_measured_choice(with_home(settings.store), key, data, networks, available)
    torch.set_num_threads(chosen)
    if chosen < available:
        log.info("threads   1 of %d: more do not make networks this small faster (trainer.threads)", available)
    return chosen


def _stored_or_measured_choice(store: Path, key: str, data: Data, networks: Sequence[nn.Module], available: int) -> int:
    """The choice that the store has under `key`, or the one that is measured now and put there."""
    with _lock(store):
        choices = atomic.read_json(store / CHOICES)
        if choices.get(key) in (1, available):
            return int(choices[key])
        images = noise(data.splits.image_shape, data.batch_size).to(memory_format=data.view.memory_format)
        fastest = fastest_count(networks, images, available)
        with suppress(OSError, RunFailed):  # a store that may only be read, or a full disk
            atomic.write_json(store / CHOICES, {**choices, key: fastest})
    return fastest


@contextmanager
def _lock(store: Path) -> Iterator[None]:
    """Jobs that start at once wait for one choice, and do not disturb each other's measuring."""
    with ExitStack() as locks:
        with suppress(OSError, NotImplementedError):  # a store that may only be read, or a file system without locks
            store.mkdir(parents=True, exist_ok=True)
            locks.enter_context(lock_of(store / f"{CHOICES}.lock", timeout=WAIT))
        yield


def _key(settings: Settings, data: Data, available: int) -> str:
    """16 hexadecimal digits that change with whatever can change which number is the fastest."""
    sections = [*settings.all_teachers.values(), *settings.peer_students.values()]
    nodes = [*(section.node for section in sections), settings.student.node]
    networks = [without_defaults(node, ADDED_TO_NETWORKS) for node in nodes]
    batches = [settings.batch_size, list(data.splits.image_shape), data.splits.num_classes]
    machine = [available, platform.machine(), processor_name(), torch.__version__]
    return digest([networks, batches, settings.trainer.channels_last, machine])[:16]


def fastest_count(networks: Sequence[nn.Module], images: Tensor, available: int) -> int:
    """One thread, or all that are available where they are faster by a tenth or steps are long.

    The number of threads, the networks and the random numbers are left as they were.
    """
    copies = [copy.deepcopy(network).train() for network in networks]
    before, randomness = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.set_num_threads(1)
        first_images = images[:FEW]
        _seconds_of_step(copies, first_images)  # what is done once
        if _seconds_of_step(copies, first_images) > SMALL or _seconds_of_step(copies, images) > SMALL:
            return available
        seconds: dict[int, list[float]] = {1: [], available: []}
        end = time.perf_counter() + LONGEST
        while len(seconds[1]) < ROUNDS and time.perf_counter() < end:
            for count, measured in seconds.items():
                torch.set_num_threads(count)
                measured.append(_seconds_of_step(copies, images))
        return available if statistics.median(seconds[1]) > WORTH * statistics.median(seconds[available]) else 1
    except Exception:  # of anyone's network; if it cannot be trained, the training says so
        return available
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(randomness)


def _seconds_of_step(networks: Sequence[nn.Module], images: Tensor) -> float:
    """The seconds of a forward and a backward pass of all networks."""
    started = time.perf_counter()
    for network in networks:
        network(images).float().logsumexp(1).sum().backward()
    return time.perf_counter() - started
