"""Jobs on the machines of a Ray cluster, one that runs already or one of this machine that lasts as long as the sweep.

Each job is a process of its own, started by a Ray worker, and ends with it. It stands in the driver's folder and has
the environment variables that its settings depend on, which a worker of a running cluster does not inherit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kd_runner.config.settings import Count, Section
from kd_runner.errors import TERMINATED, SettingsError
from kd_runner.files.run_folder import CONSOLE, holds_a_run
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.pool import STOP_ASKED, STOP_FORCED
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick
from kd_runner.sweeps.jobs import Job

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds between looks at the jobs


class RayOptions(Section):
    """The cluster, and what a job has of it; the keys of conf/hydra/launcher/ray.yaml."""

    address: str | None
    gpus_per_job: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)] | None
    cpus_per_job: Count
    num_gpus: Annotated[int, Field(strict=True, ge=0)] | None
    num_cpus: Count | None
    timeout_s: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)] | None
    grace_s: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
    retries: Annotated[int, Field(strict=True, ge=0)]

    def engine(self, nursery: ForkServer, jobs: Sequence[Job], folder: Path) -> Ray:
        """What runs these jobs.

        Raises:
            SettingsError: Ray is not installed, or there is no such cluster.
        """
        try:
            import ray  # noqa: F401
        except ImportError:
            raise SettingsError("hydra/launcher: ray needs Ray: pip install 'kd-runner[ray]'") from None
        if self.address is not None and (self.num_gpus is not None or self.num_cpus is not None):
            raise SettingsError(
                "hydra.launcher.num_gpus and num_cpus: must be null where hydra.launcher.address names a cluster, "
                f"which has its own, got {self.num_gpus} and {self.num_cpus}"
            )
        return Ray(self)


class Killed(Exception):
    """The process of a job was killed; Ray starts it again."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def work(command: Sequence[str], again: Sequence[str], task: Mapping[str, Any], limits: Mapping[str, Any]) -> Any:
    """Run a job in a process of its own, on a worker; returns its exit code and whether it took too long.

    Raises:
        Killed: by something else than us.
        FileNotFoundError: the driver's folder is not there on the worker's machine.
    """
    folder = Path(task["folder"])
    if not Path(task["stands_in"]).is_dir():
        raise FileNotFoundError(f"{task['stands_in']} is not there on {os.uname().nodename}: the nodes must share it")
    folder.mkdir(parents=True, exist_ok=True)
    words = again if holds_a_run(folder) else command
    with (folder / CONSOLE).open("ab") as console:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kd_runner.sweeps.engines.child",
                str(os.getpid()),
                str(limits["threads"]),
                task["call"],
                *words,
            ],
            cwd=task["stands_in"],
            env={**os.environ, **task["variables"]},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    timed_out = False
    try:
        code = process.wait(limits["timeout_s"])
    except subprocess.TimeoutExpired:
        timed_out, code = True, _stop_process(process, limits["grace_s"])
    except BaseException:  # Ray cancels the task
        _stop_process(process, min(limits["grace_s"], STOP_ASKED))
        raise
    if code < 0 and not timed_out:
        raise Killed(code)
    return code, timed_out


def _stop_process(process: subprocess.Popen[bytes], grace: float) -> int:
    """The exit code of a process, and of all that it started, told to end and then made to."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
    return process.wait()


class Ray:
    """A Ray cluster, for one sweep."""

    elsewhere = True

    def __init__(self, options: RayOptions) -> None:
        self.options, self.threads = options, options.cpus_per_job
        self.examiner = Slot(None, "this machine", {"CUDA_VISIBLE_DEVICES": ""})
        self.where = (
            f"on the Ray cluster at {options.address}" if options.address else "on a Ray cluster of this machine"
        )

    def refuse_running(self) -> None:
        """Jobs end with the driver, so there are none."""

    def run(self, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        """Run all of them; what became of each is in it.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end; so were its jobs.
        """
        import ray

        self._connect()
        try:
            gpus = self._gpus(ray.nodes())
            remote = ray.remote(
                num_cpus=self.options.cpus_per_job,
                num_gpus=gpus,
                max_retries=self.options.retries,
                retry_exceptions=[Killed],
            )(work)
            self._run(remote, tasks, notify, tick)
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        told = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        given = self.options
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if given.address is None:
            quiet |= {"num_cpus": given.num_cpus, "num_gpus": given.num_gpus, "include_dashboard": False}
        try:
            ray.init(address=given.address or "local", **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise SettingsError(
                f"hydra.launcher.address: must be a running Ray cluster, got {given.address} ({reason})"
            ) from None
        finally:
            for number, handler in told.items():  # Ray puts its own in their place
                signal.signal(number, handler)

    def _gpus(self, nodes: Sequence[Mapping[str, Any]]) -> float:
        """How many GPUs, or which share of one, a job has.

        Raises:
            SettingsError: no machine has what a job asks for.
        """
        have = [node["Resources"] for node in nodes if node["Alive"]]
        most = max(each.get("GPU", 0) for each in have)
        gpus = self.options.gpus_per_job if self.options.gpus_per_job is not None else min(1.0, most)
        if not any(each.get("GPU", 0) >= gpus and each.get("CPU", 0) >= self.options.cpus_per_job for each in have):
            raise SettingsError(
                "hydra.launcher.gpus_per_job, cpus_per_job: must be what one machine of the cluster has, "
                f"got {gpus:g} and {self.options.cpus_per_job}"
            )
        return gpus

    def _run(self, remote: Any, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        import ray

        limits = {"threads": self.threads, "timeout_s": self.options.timeout_s, "grace_s": self.options.grace_s}
        waiting, handed = list(tasks), dict[Any, Task]()
        try:
            while waiting or handed:
                for task in [each for each in waiting if all(other.code is not None for other in each.after)]:
                    waiting.remove(task)
                    (task.folder / CONSOLE).unlink(missing_ok=True)  # of an earlier attempt, and no sign of this one
                    about: dict[str, Any] = {"folder": str(task.folder), "stands_in": str(Path.cwd())}
                    about |= {"call": task.call, "variables": dict(task.variables)}
                    handed[remote.remote(list(task.words), list(task.again), about, limits)] = task
                done, _ = ray.wait(list(handed), timeout=LOOK)
                for task in handed.values():
                    if not task.attempts and (task.folder / CONSOLE).exists():
                        task.seen_at(Slot(None, "Ray"))
                        notify("start", task)
                for reference in done:
                    task = handed.pop(reference)
                    self._end(task, reference)
                    notify("end", task)
                tick([task for task in handed.values() if task.attempts])
        except (KeyboardInterrupt, SystemExit) as told:
            for reference in handed:
                ray.cancel(reference)
            with contextlib.suppress(Exception):
                ray.wait(list(handed), num_returns=len(handed), timeout=STOP_ASKED + STOP_FORCED)
            if isinstance(told, SystemExit):  # whose code Ray has put 1 for
                raise SystemExit(TERMINATED) from None
            raise

    def _end(self, task: Task, reference: Any) -> None:
        """Say in the task what became of it."""
        import ray

        task.gone_from(Slot(None, "Ray"))
        try:
            task.code, task.timed_out = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Killed):
                task.code, task.attempts = error.cause.code, self.options.retries + 1
            else:
                task.code, task.why = 1, str(error.cause)
        except ray.exceptions.RayError as error:  # a machine that was lost more often than hydra.launcher.retries, say
            task.code, task.why = 1, f"Ray: {str(error).strip().splitlines()[0]}"
