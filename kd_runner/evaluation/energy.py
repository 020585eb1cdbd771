"""The energy of predictions, where the system tells: NVML on GPUs, RAPL on Linux.

Both count what the whole GPU or processor takes, with what it takes for other work and for doing nothing.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

POWERCAP = Path("/sys/class/powercap")  # Linux' counters of energy; most systems let only root read them
MILLI, MICRO = 1e-3, 1e-6
LEAST_SECONDS = 0.2  # that passes take together; NVML's counter moves every 20 to 100 ms
PATIENCE = 0.5  # seconds in which a counter that works must move


@dataclass(frozen=True)
class Counter:
    """A counter of energy.

    Args:
        name: NVML or RAPL.
        joules: Reads it; only differences mean something.
    """

    name: str
    joules: Callable[[], float]


def energy_of_image(network: nn.Module, images: Tensor, counter: Counter | None) -> float | None:
    """Joules for one of the images [N, C, H, W], in forward passes of all; None where no counter tells.

    The passes begin and end where the counter moves, so that its steps do not matter.
    """
    if counter is None:
        return None
    network.eval()
    with torch.inference_mode():

        def run() -> None:
            network(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)

        try:
            joules, passes = _joules_of_passes(run, counter)
        except OSError:  # it could be read a moment ago
            return None
    return joules / (passes * len(images)) if joules > 0 and passes else None


def _joules_of_passes(run: Callable[[], None], counter: Counter) -> tuple[float, int]:
    """The joules between two moves of a counter, and the passes between them; none where it does not move."""
    begun = time.monotonic()
    first = at_start = counter.joules()
    while first == at_start:
        run()
        at_start = counter.joules()
        if time.monotonic() - begun > PATIENCE:
            return 0.0, 0
    passes, begun, last = 0, time.monotonic(), at_start
    while True:
        run()
        passes += 1
        reading, seconds = counter.joules(), time.monotonic() - begun
        if reading != last and seconds >= LEAST_SECONDS:
            return reading - at_start, passes
        if seconds > LEAST_SECONDS + PATIENCE:
            return 0.0, 0
        last = reading


def energy_counter(device: torch.device) -> Counter | None:
    """The counter of the energy of a device; None where the system has none or does not let it be read."""
    try:
        return _of_gpu(device) if device.type == "cuda" else _of_processor()
    except (OSError, ValueError, AttributeError):
        return None


def _of_processor() -> Counter | None:
    """RAPL: the energy of all processor packages, without that of memory and graphics beside them."""
    domains = [path for path in POWERCAP.glob("*rapl:*") if re.fullmatch(r"[\w-]*rapl:\d+", path.name)]
    packages = [path for path in sorted(domains) if (path / "name").read_text().startswith("package")]
    if not packages:
        return None
    wraps = [int((path / "max_energy_range_uj").read_text()) for path in packages]
    last = [int((path / "energy_uj").read_text()) for path in packages]
    turns = [0] * len(packages)

    def joules() -> float:
        for number, path in enumerate(packages):
            reading = int((path / "energy_uj").read_text())
            turns[number] += reading < last[number]  # it begins again at 0
            last[number] = reading
        pairs = zip(last, turns, wraps, strict=True)
        return MICRO * sum(reading + turn * wrap for reading, turn, wrap in pairs)

    return Counter("RAPL", joules)


def _of_gpu(device: torch.device) -> Counter | None:
    """NVML: the energy of a GPU (Volta and later). A part of a GPU (MIG) has no counter of its own."""
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    name = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)):
        return None

    def joules() -> float:
        if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
            raise OSError("NVML does not tell the energy of this GPU")
        return MILLI * millijoules.value

    joules()
    return Counter("NVML", joules)
