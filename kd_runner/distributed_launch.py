"""The processes of one run that torchrun or srun started together, as one of them finds itself among them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

SLURM_PORTS = 15000, 5000  # the first port of those that a step of a Slurm job meets at, and their number


@dataclass(frozen=True)
class DistributedLaunch:
    """This process among those of one run, as torchrun or srun started them.

    Args:
        rank: The number of this process, from 0.
        size: The number of processes.
        local_rank: The number of this process among those of its machine, from 0.
        local_size: The number of processes on its machine.
        address, port: The address at which all processes meet, on the machine of process 0.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int


def launch_from_environment(variables: Mapping[str, str] = os.environ) -> DistributedLaunch | None:
    """The launch by torchrun or srun that this process is of; None where neither started several processes.

    A Slurm job with several tasks runs its script once: only a step that srun starts has them all.
    """
    if int(variables.get("WORLD_SIZE") or 1) > 1 and "RANK" in variables:
        size = int(variables["WORLD_SIZE"])
        return DistributedLaunch(
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
        return DistributedLaunch(
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
    within, _, suffix = numbers.partition("]")
    return name + within.partition(",")[0].partition("-")[0] + suffix.partition(",")[0]
