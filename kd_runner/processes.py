"""The place of this process among others: its parent, and those that torchrun or srun started beside it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
SLURM_PORTS = 15000, 5000  # the first port of those that a step of a Slurm job meets at, and their number


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the process `parent`, which started it, ends. Linux alone can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call above
            os._exit(1)


@dataclass(frozen=True)
class Place:
    """The place of this process among those that share one run.

    Args:
        rank: Its number, from 0.
        size: The number of processes.
        local_rank: Its number among the processes of its machine.
        local_size: Their number.
        address, port: The place where all of them meet, on the machine of process 0.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int


def started_place(variables: Mapping[str, str] = os.environ) -> Place | None:
    """The place that torchrun or srun gave to this process; None where neither started several processes.

    A Slurm job with several tasks runs its script once: only a step that srun starts has them all.
    """
    if int(variables.get("WORLD_SIZE") or 1) > 1 and "RANK" in variables:
        size = int(variables["WORLD_SIZE"])
        return Place(
            int(variables["RANK"]),
            size,
            int(variables.get("LOCAL_RANK", 0)),
            int(variables.get("LOCAL_WORLD_SIZE", size)),
            variables.get("MASTER_ADDR", "127.0.0.1"),
            int(variables.get("MASTER_PORT", SLURM_PORTS[0])),
        )
    if int(variables.get("SLURM_STEP_NUM_TASKS") or 1) > 1 and "SLURM_PROCID" in variables:
        size, nodes = int(variables["SLURM_STEP_NUM_TASKS"]), int(variables.get("SLURM_STEP_NUM_NODES", 1))
        first, count = SLURM_PORTS
        return Place(
            int(variables["SLURM_PROCID"]),
            size,
            int(variables.get("SLURM_LOCALID", 0)),
            size // nodes,
            variables.get("MASTER_ADDR") or first_host(variables.get("SLURM_STEP_NODELIST", "127.0.0.1")),
            int(variables.get("MASTER_PORT") or first + int(variables.get("SLURM_JOB_ID", 0)) % count),
        )
    return None


def first_host(hosts: str) -> str:
    """The first of the machines in a list of Slurm's, such as 'node[03-05,9],other' or 'a1,b2'."""
    name, bracket, numbers = hosts.partition("[")
    if not bracket or "," in name:
        return hosts.partition(",")[0]
    within, _, rest = numbers.partition("]")
    return name + within.partition(",")[0].partition("-")[0] + rest.partition(",")[0]
