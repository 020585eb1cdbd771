"""CPU threads: how they wait for one another, and how many there are. Torch reads both once, when it is imported.

By default OpenMP's threads spin at the end of each parallel loop until the last of them is there. On a machine with
other work, the last thread may wait for a core on which another one spins. Measured on two cores beside other work, a
step of a small CNN took 425 ms with threads that spin, 56 ms with threads that sleep, and 120 ms with one thread.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of CPU time in a period, and the period's


def settle_threads() -> None:
    """Make threads sleep while they wait, and have at most as many of them as this process may use cores.

    Variables that the person has set in the environment stay. No effect once torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = usable_cores()
    if cores < _cores_of_machine():  # torch counts those
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def usable_cores() -> int:
    """The number of CPU cores that this process may use: those it is bound to, or fewer by a container's quota."""
    quota = _quota()
    return max(1, min(_cores_of_machine(), math.ceil(quota))) if quota else _cores_of_machine()


def _cores_of_machine() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> float | None:
    """The number of cores whose time the container may use; None without a limit or a container."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no cgroups of version 2, or "max"
        return None
