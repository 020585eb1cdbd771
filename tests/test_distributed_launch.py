"""The processes that torchrun and srun have started together, from the variables that they set."""

from __future__ import annotations

import pytest

from kd_runner.distributed_launch import DistributedLaunch, first_host, launch_from_environment

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node7",
    "MASTER_PORT": "29501",
}  # fmt: skip
SRUN = {
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "2", "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "71234", "SLURM_NTASKS": "4",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "launch"),
    [
        ({}, None),
        (TORCHRUN, DistributedLaunch(3, 4, 1, 2, "node7", 29501)),
        (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"WORLD_SIZE": "8"}, None),  # somebody's variable, and no process of torchrun
        (SRUN, DistributedLaunch(2, 4, 0, 2, "gpu03", 16234)),
        (SRUN | {"MASTER_ADDR": "a", "MASTER_PORT": "5"}, DistributedLaunch(2, 4, 0, 2, "a", 5)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # the script of a job, of which there is one process
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),  # a job of our own launcher
    ],
)
def test_the_place_of_a_process(variables: dict[str, str], launch: DistributedLaunch | None) -> None:
    assert launch_from_environment(variables) == launch


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        ("node1", "node1"), ("a,b", "a"), ("node[03-05,9],other", "node03"), ("gpu[7,9]", "gpu7"), ("x1,y[2-3]", "x1"),
        ("n[1-2]-ib", "n1-ib"),
    ],
)  # fmt: skip
def test_the_first_machine_of_a_list(hosts: str, host: str) -> None:
    assert first_host(hosts) == host
