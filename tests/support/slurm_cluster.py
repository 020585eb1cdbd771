"""A Slurm cluster of one machine, for tests: its own munged, slurmctld and slurmd, and two pretended GPUs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
CONFIGURATION = """
ClusterName=kd
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=5
GresTypes=gpu
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE = "NodeName={name} NodeAddr=127.0.0.1 Port={port} CPUs=2 Gres=gpu:2 State=UNKNOWN"


def missing() -> str:
    """Why there can be no such cluster; empty where there can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if lacking:
        return f"Slurm is not installed: no {', '.join(lacking)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "a Slurm cluster of one's own needs root"


def search_path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@contextlib.contextmanager
def cluster(folder: Path, nodes: int = 1) -> Iterator[dict[str, str]]:
    """Start it; gives the environment in which Slurm's commands find it.

    Args:
        nodes: The number of its machines, which are this one under other names.
    """
    environment = {**os.environ, "PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf")}
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / f"{Path(command[0]).name}_{len(processes)}.out").open("wb") as out:
            processes.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True))

    host = socket.gethostname().partition(".")[0]
    names = [host, *(f"{host[:20]}-{number}" for number in range(2, nodes + 1))]
    for name in ("munge", "state", *(f"spool_{node}" for node in names)):
        (folder / name).mkdir(parents=True)
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o400)
    devices = [folder / f"gpu{number}" for number in range(2)]
    for device in devices:
        subprocess.run(["mknod", str(device), "c", "1", "3"], check=True)
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in devices))
    lines = "\n".join(NODE.format(name=name, port=_free_port()) for name in names)
    content = CONFIGURATION.format(folder=folder, host=host, controller=_free_port(), nodes=lines)
    (folder / "slurm.conf").write_text(content)
    try:
        munge = [f"--{name}={folder}/munge/{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
        start("munged", "--foreground", "--force", f"--key-file={folder}/munge/key", *munge)
        _until((folder / "munge" / "socket").exists)
        start("slurmctld", "-D", "-i")
        start("slurmd", "-D")
        for name in names[1:]:  # a host name of its own makes it another machine
            start("unshare", "--uts", "sh", "-c", f"hostname {name} && exec slurmd -D")
        _until(lambda: _said(environment, "sinfo", "-h", "-N", "-p", "debug", "-o", "%T").split() == [b"idle"] * nodes)
        yield environment
    finally:
        _said(environment, "scancel", "--user=root", "--signal=KILL")
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _said(environment: dict[str, str], *command: str) -> bytes:
    return subprocess.run(command, env=environment, capture_output=True).stdout


def _until(reached: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError("the Slurm cluster did not start; see the logs in its folder")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
