"""The processes of a run beside process 0: each takes its rows of every batch, and neither writes nor prints.

Usage: `python -m kd_runner.runs.processes.worker_process PID RANK SIZE PATH`, with the process ID of process 0, this
process's number, the number of all, and the file at which they meet. Under torchrun and srun, `kd_runner.cli` calls
`follow_started`. Both end with `end_process`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import distributed

from kd_runner.config.settings import Settings, check
from kd_runner.distributed_launch import DistributedLaunch
from kd_runner.errors import COMPLETED, FAILED, RunFailed, exit_code_of, one_line
from kd_runner.files.stages import FINETUNE, STUDENT
from kd_runner.parent_process import die_with_parent
from kd_runner.plain_text import print_exception
from kd_runner.process_group import LOST, ProcessGroup
from kd_runner.runs.assembly import assemble
from kd_runner.runs.parts import Parts
from kd_runner.runs.processes.rank_processes import BEGIN, FAILURE, HERE, LOOK, OVER, store_of, take_device
from kd_runner.runs.stages.labels_only import LabelsOnly, classifier
from kd_runner.runs.stages.teacher_student import Pairing
from kd_runner.training.classifier import Classifier
from kd_runner.training.fit import fit_beside


def main() -> int:
    """Follow process 0, which started this process; returns the exit code."""
    parent, rank, size = map(int, sys.argv[1:4])
    die_with_parent(parent)
    return follow(distributed.FileStore(sys.argv[4], size), rank, size, rank)


def follow_started(launch: DistributedLaunch) -> int:
    """Follow process 0, as a process that torchrun or srun started; returns the exit code."""
    return follow(store_of(launch), launch.rank, launch.size, launch.local_rank)


def follow(store: distributed.Store, rank: int, size: int, local_rank: int) -> int:
    """Meet process 0 at `store`, and train beside it; returns the exit code.

    What fails here alone is left at the store, for process 0 to say.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # process 0 is told, and ends this one
    logging.disable(logging.WARNING)
    process_group = ProcessGroup(rank, size)
    try:
        store.set(f"{HERE}{rank}", "1")
        while not store.check([BEGIN]):
            if store.check([OVER]):
                return COMPLETED
            time.sleep(LOOK)
        process_group.join(store, on_gpu=store.get(BEGIN) == b"gpu")
        train_beside(process_group, local_rank)
        process_group.leave()
        return COMPLETED
    except Exception as error:
        if exit_code_of(error) is None and any(sign in str(error) for sign in LOST):
            return FAILED  # process 0 has ended, or another one, which process 0 says
        if exit_code_of(error) is None:
            print_exception(*sys.exc_info())
        with suppress(RuntimeError):
            store.set(FAILURE, f"process {rank} of {size}: {one_line(error)}")
        return FAILED


def end_process(code: int) -> NoReturn:
    """End this process, which has written no file, with the exit code.

    The usual teardown is left out: after a failure, threads of Gloo are still there, and may abort in it with a line of
    C++ beside the reason.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def train_beside(process_group: ProcessGroup, local_rank: int) -> None:
    """Train each stage that process 0 names, until it says that all are done.

    Raises:
        RunFailed: this process reads other images or weights than process 0.
    """
    first = process_group.receive_broadcast()
    settings = check(first["settings"])
    if settings.trust:
        sys.path.insert(0, str(Path.cwd()))
    take_device(settings.trainer, local_rank)
    parts = assemble(settings, process_group=process_group)
    if parts.fingerprint() != first["fingerprint"]:
        raise RunFailed("it reads other images, or other weights in teacher.checkpoint, than process 0")
    follower = Follower(settings, parts)
    while (message := process_group.receive_broadcast()) is not None:
        follower.obey(message)


class Follower:
    """Builds and trains the networks of a run's stages as process 0 does."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        self.settings, self.parts = settings, parts
        self.pairing: Pairing | None = None

    def obey(self, message: dict[str, Any]) -> None:
        """Take the teachers' weights, or train the stage that the message names."""
        if "teachers" in message:
            for name, weights in message["teachers"].items():
                self.parts.teachers[name].load_state_dict(weights)
            self.pairing = self.parts.teacher_student_pair()
            return
        torch.set_num_threads(message["threads"])
        module = self.module_of(message["stage"])
        module.load_state_dict(message["weights"])
        fit_beside(module, self.parts.data.shared_validation(), self.settings.trainer, message["state"])
        if message["stage"] == STUDENT:
            assert self.pairing is not None
            self.pairing.student.release()

    def module_of(self, stage: str) -> Classifier:
        """The module that trains a stage."""
        if stage == STUDENT:
            assert self.pairing is not None
            return self.parts.distiller(self.pairing)
        if stage == FINETUNE:
            assert self.pairing is not None
            network = self.pairing.student.network
            return classifier(LabelsOnly(FINETUNE, FINETUNE, network, self.parts.recipes[FINETUNE]), self.parts.data)
        return classifier(self.parts.labels_only(stage), self.parts.data)


if __name__ == "__main__":
    end_process(main())
