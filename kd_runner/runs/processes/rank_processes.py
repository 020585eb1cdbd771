"""The other processes of a run on several devices: started, met, watched and ended by process 0.

`trainer.devices` alone starts them here; torchrun and srun have started them already. They wait in
`kd_runner.runs.processes.worker_process`. All meet at a store of PyTorch's: a file where they were started here, else
the address that torchrun or Slurm gives.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from kd_runner.child_python import python_command
from kd_runner.config.sections import TrainerSettings
from kd_runner.config.settings import Settings
from kd_runner.distributed_launch import DistributedLaunch, launch_from_environment
from kd_runner.errors import FAILED, RunFailed, SettingsError
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup
from kd_runner.training.device import device_of

log = logging.getLogger(__name__)

MEETING = timedelta(minutes=10)  # for processes that torchrun or srun started on other machines
LOOK = 0.1  # seconds between looks at the store and at the processes
TO_TELL, TO_END = 3.0, 10.0  # seconds in which a process that failed says why, and in which one ends that was told to
HUNG = 60.0  # seconds without a step after which a run that waits for a dead process on a GPU is ended
HERE, BEGIN, OVER, FAILURE = "kd_runner/here/", "kd_runner/begin", "kd_runner/over", "kd_runner/failure"


@contextmanager
def shared_run(settings: Settings) -> Iterator[Meeting]:
    """The processes of a run, seen from process 0; those that are started in the block end with it.

    Raises:
        SettingsError: the devices are not those that torchrun or srun started processes for.
    """
    trainer, launch = settings.trainer, launch_from_environment()
    _check_launch(trainer, launch)
    if trainer.process_count == 1:
        yield Meeting(settings)
        return
    with tempfile.TemporaryDirectory(prefix="kd-runner-") as folder:
        meeting = Meeting(settings, launch, Path(folder) / "store")
        try:
            yield meeting
        except BaseException:
            meeting.end(at_once=True)
            raise
        meeting.end()


def _check_launch(trainer: TrainerSettings, launch: DistributedLaunch | None) -> None:
    """Refuse devices and nodes that do not fit the processes which torchrun or srun started."""
    if launch is not None and (launch.size, launch.local_size) != (trainer.process_count, trainer.devices):
        raise SettingsError(
            f"trainer.devices and trainer.nodes: must be {launch.local_size} and {launch.size // launch.local_size}, "
            f"as torchrun or srun started {launch.size} processes, got {trainer.devices} and {trainer.nodes}"
        )


class Meeting:
    """The processes of one run, as process 0 sees them; for a run of one process, nothing needs to be done.

    Args:
        launch: The launch by torchrun or srun that this process is of; None where neither started it.
        path: A file in a folder of this user alone, by which processes of this machine meet.
    """

    def __init__(self, settings: Settings, launch: DistributedLaunch | None = None, path: Path = Path()) -> None:
        self.settings, self.launch, self.path = settings, launch, path
        count = settings.trainer.process_count
        self.process_group = SINGLE_PROCESS if count == 1 else ProcessGroup(0, count, self.lost)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.store: distributed.Store | None = None if launch is None else store_of(launch)
        self.has_begun = self.is_over = False
        if self.process_group.are_several:
            take_device(settings.trainer, 0)
            share_cores(settings.trainer)

    def start(self) -> None:
        """Start the other processes, where neither torchrun nor srun has done that."""
        if self.store is None and self.process_group.are_several:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
            self.store = distributed.FileStore(str(self.path), self.process_group.size)
            self.processes = {
                rank: _start(rank, self.process_group.size, self.path) for rank in range(1, self.process_group.size)
            }

    def begin(self, fingerprint: str) -> None:
        """Meet the others, and hand them the settings of the run.

        Raises:
            RunFailed: one of them has ended, or did not come.
        """
        if self.store is None:
            return
        deadline = time.monotonic() + MEETING.total_seconds()
        keys = [f"{HERE}{rank}" for rank in range(1, self.process_group.size)]
        while not self.store.check(keys):
            reason = self._end_of_process() or self._stored_failure()
            if reason is not None:
                raise RunFailed(reason)
            if time.monotonic() > deadline:
                raise RunFailed(
                    f"trainer.devices: {self.process_group.size} processes did not meet within "
                    f"{MEETING.seconds // 60} minutes"
                )
            time.sleep(LOOK)
        on_gpu = device_of(self.settings.trainer).type == "cuda"
        self.store.set(BEGIN, "gpu" if on_gpu else "cpu")
        self.has_begun = True
        self.process_group.join(self.store, on_gpu)
        if on_gpu:
            threading.Thread(target=self._watch, daemon=True).start()
        self.process_group.broadcast({"settings": self.settings.plain(), "fingerprint": fingerprint})
        log.info("devices   %d processes share each batch of %d", self.process_group.size, self.settings.batch_size)

    def lost(self) -> str | None:
        """The reason why another process has ended, in words; waits a little for it. None where none has ended."""
        deadline = time.monotonic() + TO_TELL
        while time.monotonic() < deadline:
            reason = self._stored_failure() or self._end_of_process()
            if reason is not None:
                return self._stored_failure() or reason
            time.sleep(LOOK)
        return "another process of the run has ended" if self.launch is not None else None

    def _stored_failure(self) -> str | None:
        """The reason that a process that failed has left at the store; None where there is none."""
        with suppress(RuntimeError):
            if self.store is not None and self.store.check([FAILURE]):
                return str(self.store.get(FAILURE).decode())
        return None

    def _end_of_process(self) -> str | None:
        """The end of one of the processes that were started here, in words; None while all of them run."""
        for rank, process in self.processes.items():
            code = process.poll()
            if code is not None:
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                return f"process {rank} of {self.process_group.size} has ended {how}, and with it the run"
        return None

    def end(self, at_once: bool = False) -> None:
        """End the other processes: by a message where all is well, else by a signal."""
        self.is_over = True
        if self.launch is not None and self.store is not None:
            with suppress(RuntimeError):
                self.store.set(OVER, "1")
                time.sleep(0 if self.has_begun or at_once else 5 * LOOK)  # the store may end with this process
        for process in self.processes.values():
            if self.has_begun and not at_once:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TO_END)
            if process.poll() is None:
                process.kill()
            process.wait()
        self.process_group.leave()

    def _watch(self) -> None:
        """End this process where another has died and no step ends any more: a GPU waits for it without end."""
        died: float | None = None
        steps = self.process_group.steps
        while not self.is_over:
            time.sleep(1.0)
            if self._end_of_process() is None:
                continue
            if died is None or self.process_group.steps != steps:
                died, steps = time.monotonic(), self.process_group.steps
            if time.monotonic() - died > HUNG and not self.is_over:
                log.error("%s", self._end_of_process())
                os._exit(FAILED)


def _start(rank: int, size: int, path: Path) -> subprocess.Popen[bytes]:
    """Another process of the run on this machine, which prints nothing but errors and ends with this one."""
    words = python_command("kd_runner.runs.processes.worker_process", str(os.getpid()), str(rank), str(size), str(path))
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


def store_of(launch: DistributedLaunch) -> distributed.Store:
    """The store at the address that torchrun or Slurm gives; process 0 holds it, or torchrun."""
    os.environ.setdefault("MASTER_ADDR", launch.address)
    os.environ.setdefault("MASTER_PORT", str(launch.port))
    meeting: Iterator[Any] = distributed.rendezvous("env://", launch.rank, launch.size, timeout=MEETING)
    store, _, _ = next(meeting)
    return store


def take_device(trainer: TrainerSettings, local_rank: int) -> None:
    """Make a process's own GPU its current one, unless it sees only one."""
    if device_of(trainer).type == "cuda" and torch.cuda.device_count() > 1:
        torch.cuda.set_device(local_rank)


def share_cores(trainer: TrainerSettings) -> None:
    """Leave each process of this machine its share of the CPU threads, where the settings leave their number open."""
    if trainer.threads is None:
        torch.set_num_threads(max(1, torch.get_num_threads() // trainer.devices))
