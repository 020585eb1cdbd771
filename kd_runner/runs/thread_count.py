"""How many CPU threads a run gets: one for small networks, where more do not help, and PyTorch's choice for others.

The number shows in the last bits of what is computed. So a choice that was measured is kept in the store and made again
by the same command, whatever else the machine does then.
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
from filelock import FileLock
from torch import Tensor, nn

from kd_runner.config.fingerprint import digest
from kd_runner.errors import RunFailed
from kd_runner.files import atomic
from kd_runner.runs.parts import Parts
from kd_runner.runs.teacher_student import noise

log = logging.getLogger(__name__)

CHOICES = "threads.json"  # in the store
SMALL = 0.05  # seconds of a step on one thread: longer ones get all threads, unmeasured
WORTH = 1.1  # times faster that more threads must be to be used
FEW = 4  # images of a first step, lest a large network takes long
WAIT = 60.0  # seconds, at most, for another job that measures
ROUNDS, LONGEST = 15, 2.0  # of measuring with one thread and with all, in turn, and the seconds that they may take


def choose_threads(parts: Parts) -> int:
    """Set the number of threads for a run on a CPU whose settings leave it open; returns the number."""
    most, settings = torch.get_num_threads(), parts.settings
    if most == 1 or settings.trainer.threads is not None or parts.device.type != "cpu":
        return most
    chosen = _kept(Path(settings.store).expanduser(), _key(parts, most), parts, most)
    torch.set_num_threads(chosen)
    if chosen < most:
        log.info("threads   1 of %d: more do not make networks this small faster (trainer.threads)", most)
    return chosen


def _kept(store: Path, key: str, parts: Parts, most: int) -> int:
    """The choice that the store has under `key`, or the one that is measured now and put there."""
    with _lock(store):
        choices = atomic.read_json(store / CHOICES)
        if choices.get(key) in (1, most):
            return int(choices[key])
        images = noise(parts.splits.image_shape, parts.settings.batch_size).to(memory_format=parts.view.memory_format)
        fastest = fastest_count([*parts.teachers.values(), parts.student], images, most)
        with suppress(OSError, RunFailed):  # a store that may only be read, or a full disk
            atomic.write_json(store / CHOICES, {**choices, key: fastest})
    return fastest


@contextmanager
def _lock(store: Path) -> Iterator[None]:
    """Jobs that start at once wait for one choice, and do not disturb each other's measuring."""
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):  # a store that may only be read, or a file system without locks
            store.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(store / f"{CHOICES}.lock", timeout=WAIT))
        yield


def _key(parts: Parts, most: int) -> str:
    """16 hexadecimal digits that change with whatever can change which number is the fastest."""
    settings = parts.settings
    networks = [*(teacher.node for teacher in settings.all_teachers.values()), settings.student.node]
    batches = [settings.batch_size, list(parts.splits.image_shape), parts.splits.num_classes]
    machine = [most, platform.machine(), processor_name(), torch.__version__]
    return digest([networks, batches, settings.trainer.channels_last, machine])[:16]


def fastest_count(networks: Sequence[nn.Module], images: Tensor, most: int) -> int:
    """One thread, or `most` where they are faster by a tenth or the steps are long; leaves the number as it was."""
    copies = [copy.deepcopy(network).train() for network in networks]
    before, randomness = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.set_num_threads(1)
        few = images[:FEW]
        _seconds_of_step(copies, few)  # what is done once
        if _seconds_of_step(copies, few) > SMALL or _seconds_of_step(copies, images) > SMALL:
            return most
        seconds: dict[int, list[float]] = {1: [], most: []}
        until = time.perf_counter() + LONGEST
        while len(seconds[1]) < ROUNDS and time.perf_counter() < until:
            for count, measured in seconds.items():
                torch.set_num_threads(count)
                measured.append(_seconds_of_step(copies, images))
        return most if statistics.median(seconds[1]) > WORTH * statistics.median(seconds[most]) else 1
    except Exception:  # of anyone's network; if it cannot be trained, the training says so
        return most
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(randomness)


def _seconds_of_step(networks: Sequence[nn.Module], images: Tensor) -> float:
    """What a forward and a backward pass of all networks take."""
    started = time.perf_counter()
    for network in networks:
        network(images).float().logsumexp(1).sum().backward()
    return time.perf_counter() - started


def processor_name() -> str:
    """The processor's name, where the system says it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
