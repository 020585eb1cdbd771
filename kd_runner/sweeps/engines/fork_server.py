"""Processes of jobs, forked from a server that has imported what takes long: `multiprocessing`'s fork server.

Each job leads a session, and with it a process group, and ends with the server, which ends with the driver.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from kd_runner.child_python import settle_module_search
from kd_runner.command_line.composition_cache import CACHE
from kd_runner.command_line.job_composer import JOB_COMPOSER
from kd_runner.errors import RunFailed
from kd_runner.files.run_folder import CONSOLE
from kd_runner.parent_process import die_with_parent
from kd_runner.socket_folder import settle_socket_folder
from kd_runner.sweeps.engines.child import DRIVER, call_function, print_to
from kd_runner.sweeps.engines.task import COMMAND

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}  # the driver passes them on to its jobs; the server outlives them
DIED = "the process that starts the jobs has died; see what it printed above"
SERVER_KILLED = 255  # the exit code that multiprocessing gives to jobs of a server that was killed


class ServerFacts(NamedTuple):
    """The server's process ID, and the number of GPUs that CUDA sees."""

    pid: int
    device_count: int


class ForkServer:
    """Starts the processes of jobs. The server is one for all objects of this process, and imports while others work.

    Raises:
        RunFailed: the server cannot be started, or has died.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["kd_runner.sweeps.engines.preload"])
        self.processes: list[BaseProcess] = []  # those that run
        try:
            settle_socket_folder()
            settle_module_search()
            resource_tracker.ensure_running()  # which unblocks the signals in this process when it starts
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            os.environ[DRIVER] = str(os.getpid())
            try:
                forkserver.ensure_running()
            finally:
                del os.environ[DRIVER]
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except OSError as error:  # no temporary folder that can be written to, say
            raise RunFailed(f"the process that starts the jobs cannot be started: {error}") from None

    @cached_property
    def facts(self) -> ServerFacts:
        """The server's process ID and the number of GPUs; waits until the server has imported what it needs."""
        return self._ask_facts()

    def start(
        self, call: str, words: Sequence[str], folder: Path, environment: Mapping[str, str], threads: int
    ) -> BaseProcess:
        """Start a job; returns its process.

        Args:
            call: The function that the job calls with `words`, as 'module:function'.
            folder: The job's folder; what the job prints goes to a file there.
            environment: Variables that are added to the server's.
            threads: Number of threads of the job.
        """
        composition = JOB_COMPOSER.cache_entry(words) if call == COMMAND else b""
        arguments = (self.facts.pid, call, list(words), composition, folder, dict(environment), threads)
        process = self._context.Process(target=_run_job, args=arguments)
        with _server_death_as_run_failed():
            process.start()
        self.processes.append(process)
        return process

    def wait(self, seconds: float) -> list[BaseProcess]:
        """The processes that have ended since the last call; waits up to so many seconds for the first."""
        sentinels = connection.wait([process.sentinel for process in self.processes], seconds)
        ended = [process for process in self.processes if process.sentinel in sentinels]
        for process in ended:
            process.join()
            self.processes.remove(process)
        # multiprocessing starts another server in the place of one that has died.
        if any(process.exitcode == SERVER_KILLED for process in ended) and self._ask_facts().pid != self.facts.pid:
            raise RunFailed(DIED)
        return ended

    def close(self) -> None:
        """Kill the jobs that still run. The server itself ends with this process."""
        for process in self.processes:
            send_signal(process, signal.SIGKILL)

    def _ask_facts(self) -> ServerFacts:
        """The facts, from a process that the server forks only to ask it."""
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_send_facts, args=(writer,))
        with _server_death_as_run_failed(), reader, writer:
            process.start()
            writer.close()
            facts: ServerFacts = reader.recv()
            process.join()
        return facts


@contextlib.contextmanager
def _server_death_as_run_failed() -> Iterator[None]:
    """Raise RunFailed where the server dies in this block."""
    try:
        yield
    except (OSError, EOFError):
        raise RunFailed(DIED) from None


def send_signal(process: BaseProcess, number: int) -> None:
    """Send a signal to the process group of a job."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # it does not lead a group yet
            os.kill(process.pid, number)


def _send_facts(writer: connection.Connection) -> None:
    import torch

    # This counts without initialising CUDA in the server, which could not be forked after that.
    writer.send(ServerFacts(os.getppid(), torch.cuda.device_count()))


def _die_with_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os.killpg(0, signal.SIGKILL)


def _run_job(
    server: int,
    call: str,
    words: list[str],
    composition: bytes,
    folder: Path,
    environment: dict[str, str],
    threads: int,
) -> None:
    """Run a job in the forked process: the start of that process.

    Args:
        composition: The entry for the cache of compositions that the driver made for it.

    Raises:
        SystemExit: the job has ended, with the exit code that its function returned.
    """
    die_with_parent(server)
    if sys.platform != "linux":  # where no kernel kills the server when the driver is killed
        threading.Thread(target=_die_with_driver, daemon=True).start()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    os.environ.update(environment)
    folder.mkdir(parents=True, exist_ok=True)
    print_to(os.open(folder / CONSOLE, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    CACHE.add(composition)
    sys.exit(call_function(call, words, threads))
