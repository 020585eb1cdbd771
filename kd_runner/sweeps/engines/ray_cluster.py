"""Jobs on the machines of a Ray cluster, one that runs already or one of this machine that lasts as long as the sweep.

Each job is a process of its own, started by a Ray worker, and ends with the worker. Its working folder is the driver's.
It has the environment variables that its settings depend on, which a worker of a running cluster does not inherit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kd_runner.child_python import python_command
from kd_runner.config.field_types import Count, Section
from kd_runner.errors import TERMINATED, SettingsError
from kd_runner.files.run_folder import CONSOLE, holds_a_run
from kd_runner.stop_signals import raise_stop_signal
from kd_runner.sweeps.engine import FailFast, Retries, Seconds
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.pool import STOP_ASKED, STOP_FORCED
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick, drop_unwanted, no_task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.grouping import PackSetting
from kd_runner.threads import usable_cores

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds between looks at the jobs
POLL = 0.1  # seconds between a worker's looks at its process

MANY = 10**6  # slots, where nobody knows how many


class RaySettings(Section):
    """The cluster, and what a job has of it; the keys of conf/hydra/launcher/ray.yaml."""

    address: str | None
    gpus_per_job: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)] | None
    cpus_per_job: Count
    num_gpus: Annotated[int, Field(strict=True, ge=0)] | None
    num_cpus: Count | None
    timeout_s: Seconds | None
    grace_s: Seconds
    retries: Retries
    pack: PackSetting = "auto"
    fail_fast: FailFast = False

    def engine(self, fork_server: ForkServer, jobs: Sequence[Job], folder: Path) -> RayEngine:
        """The engine that runs these jobs.

        Raises:
            SettingsError: Ray is not installed, or there is no such cluster.
        """
        try:
            import ray  # noqa: F401
        except ImportError:
            raise SettingsError("hydra/launcher: ray needs Ray: pip install ray") from None
        if self.address is not None and (self.num_gpus is not None or self.num_cpus is not None):
            raise SettingsError(
                "hydra.launcher.num_gpus and num_cpus: must be null where hydra.launcher.address names a cluster, "
                f"which has its own, got {self.num_gpus} and {self.num_cpus}"
            )
        return RayEngine(self)


class Killed(Exception):
    """The process of a job was killed, and not by kd-runner; Ray starts the job again."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_job(
    words: Sequence[str], again: Sequence[str], job: Mapping[str, Any], limits: Mapping[str, Any]
) -> tuple[int, bool]:
    """Run a job in a process of its own, on a Ray worker; returns its exit code, and True where it took too long.

    Args:
        words, again: The words of the command in an empty folder, and where the folder holds the beginning of a run.
        job: "folder" of the job, "driver_folder" where the driver was started, "call", and "variables".
        limits: "threads", "timeout_s" and "grace_s".

    Raises:
        Killed: the process was killed, and not by this function.
        FileNotFoundError: the driver's folder is not there on the worker's machine.
    """
    if not Path(job["driver_folder"]).is_dir():
        machine = os.uname().nodename
        raise FileNotFoundError(f"{job['driver_folder']} is not there on {machine}: the nodes must share it")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script had started the cluster with &
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or Ray could not cancel the task
    process, timed_out = _start_process(again if holds_a_run(Path(job["folder"])) else words, job, limits), False
    try:
        code = _wait_for(process, limits["timeout_s"])
    except subprocess.TimeoutExpired:
        timed_out, code = True, _stop_process(process, limits["grace_s"])
    except BaseException:  # Ray cancels the task
        _stop_process(process, min(limits["grace_s"], STOP_ASKED))
        raise
    if code < 0 and not timed_out:
        raise Killed(code)
    return code, timed_out


@contextlib.contextmanager
def _unseen_folder() -> Iterator[None]:
    """Hide the current folder from Ray, which has its workers look there for modules, unless this process does, too."""
    folder = Path.cwd()
    if {"", str(folder)} & set(sys.path):
        yield
        return
    os.chdir("/")
    try:
        yield
    finally:
        os.chdir(folder)


def _start_process(words: Sequence[str], job: Mapping[str, Any], limits: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """The process of a job, which ends with this one; see `run_job`."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    child = python_command("kd_runner.sweeps.engines.child", str(os.getpid()), str(limits["threads"]))
    with (folder / CONSOLE).open("ab") as console:
        return subprocess.Popen(
            [*child, job["call"], *words],
            cwd=job["driver_folder"],
            env={**os.environ, **job["variables"]},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )


def _wait_for(process: subprocess.Popen[bytes], timeout_s: float | None) -> int:
    """The exit code of a process, once it has ended.

    Ray cancels a task by an interrupt that Python sees between two of its own steps, and not in one long wait.

    Raises:
        subprocess.TimeoutExpired: the process takes longer than `timeout_s`.
    """
    started = time.monotonic()
    while (code := process.poll()) is None:
        if timeout_s is not None and time.monotonic() - started > timeout_s:
            raise subprocess.TimeoutExpired(process.args, timeout_s)
        time.sleep(POLL)
    return code


def _stop_process(process: subprocess.Popen[bytes], grace: float) -> int:
    """Tell a process and all that it started to end, then make them; returns the exit code."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
    return process.wait()


def slots_of(nodes: Sequence[Mapping[str, Any]], gpus: float, cpus: float) -> int:
    """The number of jobs that the machines of a cluster run at a time.

    Args:
        nodes: The machines, as Ray describes them.
        gpus, cpus: The numbers of GPUs and CPUs that a job has.
    """
    count = 0
    for node in nodes:
        resources = node["Resources"] if node["Alive"] else {}
        of_cpus = int(resources.get("CPU", 0) / cpus)
        count += min(of_cpus, int(resources.get("GPU", 0) / gpus + 1e-9)) if gpus else of_cpus
    return max(1, count)


class RayEngine:
    """A Ray cluster, for one sweep."""

    is_remote = True
    memory_of_task: int | None = None
    jobs_per_task = 1

    def __init__(self, settings: RaySettings) -> None:
        self.settings, self.threads = settings, settings.cpus_per_job
        # What a running cluster has is known only when it is asked: it may well have a slot for each job.
        cpus = settings.num_cpus or usable_cores()
        self.slot_count = MANY if settings.address else max(1, cpus // settings.cpus_per_job)
        self.check_slot = Slot(None, "this machine", {"CUDA_VISIBLE_DEVICES": ""})
        cluster = f"the Ray cluster at {settings.address}" if settings.address else "a Ray cluster of this machine"
        self.description = f"on {cluster}"

    def refuse_running(self) -> None:
        """Refuse nothing: jobs end with their driver, so none of an earlier sweep still runs."""

    def queued_names(self) -> set[str]:
        """None: jobs end with their driver."""
        return set()

    def adopt(self, folder: Path) -> None:
        """Adopt nothing: jobs end with their driver."""

    def run(
        self, tasks: Sequence[Task], notify: Notify, tick: Tick, next_task: Callable[[], Task | None] = no_task
    ) -> None:
        """Run all tasks, and write into each how it ended.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end; its jobs have ended, too.
        """
        import ray

        self._connect()
        try:
            gpus = self._gpus_per_job(ray.nodes())
            self.slot_count = slots_of(ray.nodes(), gpus, self.settings.cpus_per_job)
            remote = ray.remote(
                num_cpus=self.settings.cpus_per_job,
                num_gpus=gpus,
                max_retries=self.settings.retries,
                retry_exceptions=[Killed],
            )(run_job)
            self._run_tasks(remote, tasks, notify, tick, next_task)
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        settings = self.settings
        if settings.address is None:
            arguments |= {"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus, "include_dashboard": False}
        try:
            with _unseen_folder():
                ray.init(address=settings.address or "local", **arguments)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise SettingsError(
                f"hydra.launcher.address: must be a running Ray cluster, got {settings.address} ({reason})"
            ) from None
        finally:
            for number, handler in handlers.items():  # Ray has replaced them
                signal.signal(number, handler)

    def _gpus_per_job(self, nodes: Sequence[Mapping[str, Any]]) -> float:
        """The number of GPUs, or the share of one, that a job has.

        Raises:
            SettingsError: no machine has what a job asks for.
        """
        resources = [node["Resources"] for node in nodes if node["Alive"]]
        most = max(machine.get("GPU", 0) for machine in resources)
        gpus = self.settings.gpus_per_job if self.settings.gpus_per_job is not None else min(1.0, most)
        cpus = self.settings.cpus_per_job
        if not any(machine.get("GPU", 0) >= gpus and machine.get("CPU", 0) >= cpus for machine in resources):
            raise SettingsError(
                "hydra.launcher.gpus_per_job, cpus_per_job: must be what one machine of the cluster has, "
                f"got {gpus:g} and {cpus}"
            )
        return gpus

    def _run_tasks(
        self, remote: Any, tasks: Sequence[Task], notify: Notify, tick: Tick, next_task: Callable[[], Task | None]
    ) -> None:
        import ray

        waiting, submitted = list(tasks), dict[Any, Task]()
        try:
            while True:
                drop_unwanted(waiting)
                for task in [task for task in waiting if task.is_ready]:
                    waiting.remove(task)
                    submitted[self._submit(remote, task)] = task
                while not waiting and len(submitted) < self.slot_count and (proposed := next_task()) is not None:
                    submitted[self._submit(remote, proposed)] = proposed
                if not waiting and not submitted:
                    return
                ended, _ = ray.wait(list(submitted), timeout=LOOK)
                for task in submitted.values():
                    if not task.attempts and (task.folder / CONSOLE).exists():
                        task.note_start(Slot(None, "Ray"))
                        notify("start", task)
                for reference in ended:
                    task = submitted.pop(reference)
                    self._end(task, reference)
                    notify("end", task)
                raise_stop_signal()
                tick([task for task in submitted.values() if task.attempts])
                for reference, task in submitted.items():
                    if task.unwanted and task.stop_at is None:
                        task.stop_at = time.monotonic()
                        ray.cancel(reference)
        except (KeyboardInterrupt, SystemExit) as stop:
            for reference in submitted:
                ray.cancel(reference)
            with contextlib.suppress(Exception):
                ray.wait(list(submitted), num_returns=len(submitted), timeout=STOP_ASKED + STOP_FORCED)
            if isinstance(stop, SystemExit):  # Ray has replaced its code by 1
                raise SystemExit(TERMINATED) from None
            raise

    def _submit(self, remote: Any, task: Task) -> Any:
        """Ray's reference of a task that Ray will run."""
        (task.folder / CONSOLE).unlink(missing_ok=True)  # an earlier attempt's would look like the start of this one
        job: dict[str, Any] = {"folder": str(task.folder), "driver_folder": str(Path.cwd())}
        job |= {"call": task.call, "variables": dict(task.variables)}
        timeout_s = self.settings.timeout_s and self.settings.timeout_s * max(1, len(task.members))
        limits = {"threads": self.threads, "timeout_s": timeout_s, "grace_s": self.settings.grace_s}
        return remote.remote(list(task.words), list(task.again), job, limits)

    def _end(self, task: Task, reference: Any) -> None:
        """Write into the task how it ended."""
        import ray

        task.note_end(Slot(None, "Ray"))
        try:
            task.code, task.timed_out = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Killed):
                task.code, task.attempts = error.cause.code, self.settings.retries + 1
            else:
                task.code, task.reason = 1, str(error.cause)
        except ray.exceptions.TaskCancelledError:
            task.code, task.reason = TERMINATED, "it was not needed any longer"
        except ray.exceptions.RayError as error:  # a machine that was lost more often than hydra.launcher.retries, say
            task.code, task.reason = 1, f"Ray: {str(error).strip().splitlines()[0]}"
