"""Jobs in the queue of a Slurm cluster, through submitit. They stay there when the driver goes; the next finds them.

A job that reaches its time limit, or loses its node, is started again by Slurm, and goes on from its last epoch. That
needs a folder for the sweep which all nodes see.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kd_runner.config.settings import Count, Section
from kd_runner.errors import INTERRUPTED, TERMINATED, RunFailed, SettingsError
from kd_runner.files import atomic, run_folder
from kd_runner.files.run_folder import CONSOLE
from kd_runner.sweeps.engines.child import call_function, print_to
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick
from kd_runner.sweeps.jobs import Job

log = logging.getLogger(__name__)

OWN = ".slurm"  # the folder of submitit's files, in the sweep's
QUEUED = "queued.json"  # there: the tasks' jobs, so that a later driver finds them
LOOK, ASK = 1.0, 10.0  # seconds between looks at the folder, and between questions to the scheduler, whom many ask


class SlurmOptions(Section):
    """What a job of the sweep asks Slurm for; the keys of conf/hydra/launcher/slurm.yaml."""

    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    gpus_per_node: Annotated[int, Field(strict=True, ge=0)]
    cpus_per_task: Count
    mem_gb: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)] | None
    timeout_min: Count
    max_num_timeout: Annotated[int, Field(strict=True, ge=0)]
    signal_delay_s: Annotated[int, Field(strict=True, ge=1)]
    array_parallelism: Count
    setup: list[str]
    additional_parameters: dict[str, Any]

    @property
    def timeout_s(self) -> float:
        """Seconds of each attempt."""
        return 60.0 * self.timeout_min

    def engine(self, nursery: ForkServer, jobs: Sequence[Job], folder: Path) -> Slurm:
        """What runs these jobs of the sweep in `folder`.

        Raises:
            SettingsError: submitit or Slurm is not installed.
        """
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise SettingsError("hydra/launcher: slurm needs submitit: pip install 'kd-runner[slurm]'") from None
        if shutil.which("sbatch") is None:
            raise SettingsError("hydra/launcher: slurm needs Slurm's commands, and there is no sbatch on the path")
        return Slurm(self, folder)


class Command:
    """A task in the process that Slurm starts for it, and starts again after a time limit."""

    def __init__(self, task: Task, threads: int) -> None:
        self.call, self.words, self.again, self.folder = task.call, list(task.words), list(task.again), task.folder
        self.variables, self.threads = dict(task.variables), threads

    def __call__(self) -> int:
        """The command's exit code.

        Raises:
            SystemExit: it was told to end by Slurm, which may start it again.
        """
        os.environ.update(self.variables)
        self.folder.mkdir(parents=True, exist_ok=True)
        with _printing_to(self.folder / CONSOLE):
            code = call_function(
                self.call, self.again if run_folder.holds_a_run(self.folder) else self.words, self.threads
            )
        if code in (INTERRUPTED, TERMINATED) or code < 0:  # below 0 when submitit has put the job into the queue again
            raise SystemExit(code)
        return code

    def checkpoint(self) -> Any:
        """What submitit puts into the queue when the time limit is near: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    before = os.dup(1), os.dup(2)
    console = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    print_to(console)
    try:
        yield
    finally:
        for number, handle in zip((1, 2), before, strict=True):
            os.dup2(handle, number)
            os.close(handle)
        os.close(console)


class Slurm:
    """The queue, for one sweep."""

    elsewhere = True

    def __init__(self, options: SlurmOptions, folder: Path) -> None:
        self.options, self.folder, self.threads = options, folder, options.cpus_per_task
        self.examiner = Slot(None, "this machine", {"CUDA_VISIBLE_DEVICES": ""})
        partition = f" partition {options.partition}" if options.partition else ""
        self.where = f"up to {options.array_parallelism} at a time in Slurm's{partition or ' default partition'}"
        self.queued: dict[str, str] = {}  # Slurm's jobs by the tasks' names
        self.jobs: dict[str, Any] = {}  # the same, as submitit has them
        self.seen = time.monotonic()  # when the scheduler was last asked
        self.gone: dict[str, int] = {}  # how often it did not know a job, running

    def refuse_running(self) -> None:
        """Raise SettingsError where jobs of an earlier sweep in the same folder are still in the queue."""
        left = sorted(self._still_queued().values())
        if left:
            raise SettingsError(
                f"hydra.sweep.dir: {self.folder} holds a sweep with jobs in Slurm's queue: wait for them with "
                f"kd-runner resume={self.folder}, or end them with scancel {' '.join(_arrays(left))}"
            )

    def run(self, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        """Queue all of them, and wait; what became of each is in it.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end; the jobs stay.
        """
        before = self._still_queued()
        self.queued = {task.name: before[task.name] for task in tasks if task.name in before}
        if self.queued:
            log.info("queue     %d jobs are in it from before", len(self.queued))
        self._submit([task for task in tasks if task.name not in self.queued])
        running: list[Task] = []
        left = list(tasks)
        try:
            while left:
                time.sleep(LOOK)
                for task in left:
                    if not task.attempts and (task.folder / CONSOLE).exists():
                        task.seen_at(Slot(None, f"Slurm job {self.queued[task.name]}"))
                        running.append(task)
                        notify("start", task)
                for task in self._over(left):
                    self._end(task)
                    task.gone_from(Slot(None, "Slurm"))
                    left.remove(task)
                    running = [each for each in running if each is not task]
                    notify("end", task)
                tick(running)
        except (KeyboardInterrupt, SystemExit):
            ids = " ".join(_arrays([self.queued[task.name] for task in left]))
            log.info("the jobs stay in Slurm's queue: scancel %s ends them, kd-report %s shows them", ids, self.folder)
            raise

    def _still_queued(self) -> dict[str, str]:
        """Slurm's jobs of this folder that it has not ended, by the tasks' names.

        Raises:
            RunFailed: it does not say.
        """
        before = atomic.read_json(self.folder / OWN / QUEUED)
        known = in_queue() if before else set()
        if known is None:
            raise RunFailed("Slurm does not answer (squeue), so it may still run jobs of this sweep; try again later")
        return {name: job for name, job in before.items() if job in known}

    def _submit(self, tasks: Sequence[Task]) -> None:
        """Into the queue, one array for the tasks that wait for the same others."""
        arrays: dict[tuple[str, ...], list[Task]] = {}
        for task in sorted(tasks, key=lambda task: bool(task.after)):
            arrays.setdefault(tuple(each.name for each in task.after), []).append(task)
        for after, members in arrays.items():
            for task in members:  # what an earlier attempt printed is no sign of this one's start
                (task.folder / CONSOLE).unlink(missing_ok=True)
            try:
                ids = self._queue(members, [self.queued[name] for name in after])
            except SettingsError as error:
                if not self.queued:
                    raise
                earlier = " ".join(_arrays(list(self.queued.values())))
                raise RunFailed(f"{error}; what it had taken before stays: scancel {earlier} ends it") from None
            self.queued |= dict(zip((task.name for task in members), ids, strict=True))
            atomic.write_json(self.folder / OWN / QUEUED, self.queued)
            log.info("queue     %d as Slurm job %s", len(members), " ".join(_arrays(ids)))

    def _queue(self, tasks: Sequence[Task], after: Sequence[str]) -> list[str]:
        import submitit
        from submitit.core.utils import FailedJobError

        given = self.options
        extra = dict(given.additional_parameters)
        if after:  # whatever became of them: a job that lacks its teacher trains it
            extra["dependency"] = "afterany:" + ":".join(after)
        (self.folder / OWN).mkdir(parents=True, exist_ok=True)
        executor = submitit.AutoExecutor(
            self.folder / OWN / "%j", cluster="slurm", slurm_max_num_timeout=given.max_num_timeout
        )
        optional: dict[str, Any] = {"partition": given.partition, "account": given.account, "qos": given.qos}
        optional |= {"constraint": given.constraint, "gpus_per_node": given.gpus_per_node or None}
        executor.update_parameters(
            name="kd-runner",
            nodes=1,
            tasks_per_node=1,
            timeout_min=given.timeout_min,
            cpus_per_task=given.cpus_per_task,
            slurm_array_parallelism=given.array_parallelism,
            slurm_signal_delay_s=given.signal_delay_s,
            slurm_setup=given.setup,
            slurm_additional_parameters=extra,
            **({} if given.mem_gb is None else {"mem_gb": given.mem_gb}),
            **{f"slurm_{name}": value for name, value in optional.items() if value is not None},
        )
        try:
            with executor.batch():
                jobs = [executor.submit(Command(task, self.threads)) for task in tasks]
        except FailedJobError as error:
            said = [line for line in str(error).splitlines() if "error" in line.lower()] or [str(error)]
            raise SettingsError(f"hydra.launcher: Slurm refused the jobs: {said[-1].strip()}") from None
        return [job.job_id for job in jobs]

    def _over(self, tasks: Sequence[Task]) -> list[Task]:
        """Those that have a result, and those that the queue has not had twice in a row."""
        over = [task for task in tasks if self._job(task).paths.result_pickle.exists()]
        if time.monotonic() - self.seen > ASK:
            self.seen, known = time.monotonic(), in_queue()
            for task in tasks:
                lost = known is not None and self.queued[task.name] not in known
                self.gone[task.name] = self.gone.get(task.name, 0) + 1 if lost else 0
            over += [task for task in tasks if self.gone.get(task.name, 0) > 1 and task not in over]
        return over

    def _job(self, task: Task) -> Any:
        import submitit

        if task.name not in self.jobs:
            self.jobs[task.name] = submitit.SlurmJob(self.folder / OWN / "%j", self.queued[task.name], [0])
        return self.jobs[task.name]

    def _end(self, task: Task) -> None:
        """Say in the task what became of it."""
        job = self._job(task)
        if job.paths.result_pickle.exists():
            try:
                task.code = int(job.result())
                error = str(atomic.read_json(task.folder / "result.json").get("error"))
                if task.code and "timed-out" in error:  # what submitit says in the job where it may not go on
                    task.why = self._timed_out()
                return
            except Exception as error:  # submitit's, or of the job's libraries
                task.why = (str(error).strip() or type(error).__name__).splitlines()[-1]
                if "timed-out" in str(error):
                    task.why = self._timed_out()
        else:
            state = state_of(job.job_id)
            task.why = f"Slurm ended it: {state}; see {self.folder / OWN / job.job_id}"
        task.code = 1

    def _timed_out(self) -> str:
        return (
            f"it reached its time limit of {self.options.timeout_min} min for the "
            f"{self.options.max_num_timeout + 1}. time (hydra.launcher.timeout_min, hydra.launcher.max_num_timeout)"
        )


def in_queue() -> set[str] | None:
    """The jobs of this user that Slurm has not ended; None where it does not answer."""
    said = _query_queue("squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}")
    return None if said is None else set(said.split())


def state_of(job: str) -> str:
    """What became of a job, in Slurm's words, such as CANCELLED; what it remembers of it, for some minutes at least."""
    said = re.search(r"JobState=(\w+) Reason=(\w+)", _query_queue("scontrol", "show", "job", job) or "")
    if said:
        return said[1] if said[2] == "None" else f"{said[1]} ({said[2]})"
    return (_query_queue("sacct", "-nXP", "-o", "State", "-j", job) or "").strip() or "it is not known any more"


def _query_queue(*command: str) -> str | None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _arrays(ids: Sequence[str]) -> list[str]:
    """The arrays of jobs, each once."""
    return sorted({each.partition("_")[0] for each in ids})
