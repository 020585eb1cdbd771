"""How CPU threads wait for one another, settled before torch is imported, which reads it once.

By default OpenMP's threads spin at the end of each parallel loop until the last of them is there. On a machine that
does something else, too, that one may be waiting for a core that the others spin on: measured on two cores beside other
work, a step of a small CNN took 425 ms with threads that spin, 56 ms with threads that sleep, and 120 ms with one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all cores together, and of the clock


def settle_threads() -> None:
    """Have threads sleep while they wait, and have no more of them than this process may use cores.

    What the person has set in the environment stands. Has no effect once torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = usable_cores()
    if cores < _cores_of_machine():  # torch counts those
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def usable_cores() -> int:
    """The CPU cores that this process may use: those it is bound to, less where a container's quota allows less."""
    quota = _quota()
    return max(1, min(_cores_of_machine(), math.ceil(quota))) if quota else _cores_of_machine()


def _cores_of_machine() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> float | None:
    """Cores' worth of time that the container has; None where it has no limit, or there is none."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no cgroups of version 2, or "max"
        return None
