"""Jobs in the queue of a Slurm cluster, through submitit. They stay when the driver ends; the next driver finds them.

A job that reaches its time limit, or loses its node, is started again by Slurm, and one that was killed by this driver.
It goes on from its last epoch. For that, all nodes must see the sweep's folder.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import logging
import os
import pickle
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from kd_runner.child_python import python_for_shell
from kd_runner.config.field_types import Count, Section
from kd_runner.errors import INTERRUPTED, TERMINATED, RunFailed, SettingsError, one_line
from kd_runner.files import atomic, run_folder
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import CONSOLE, QUEUED, RESULT
from kd_runner.files.run_folder import SLURM as SLURM_FOLDER
from kd_runner.formats import number_of
from kd_runner.stop_signals import raise_stop_signal
from kd_runner.sweeps.engine import FailFast, Retries
from kd_runner.sweeps.engines.child import call_function, print_to
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick, no_task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.grouping import PackSetting

log = logging.getLogger(__name__)

# States of a job whose process was killed: submitit writes a result of one that failed. Not those of a person who ended
# it, or of a time limit.
KILLED = ("FAILED", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL")
ADOPTED = "adopted.json"  # beside `QUEUED`: the folders of the drivers whose files those of its jobs use, by the IDs
ASIDE = "earlier_"  # begins the names of folders with files of earlier jobs
MOST_OUTCOME = 2**22  # bytes of the file in which submitit says how a job ended
LOOK, ASK = 1.0, 10.0  # seconds between looks at the folder, and between questions to the scheduler, which serves many


class SlurmSettings(Section):
    """The resources that a job asks Slurm for; the keys of conf/hydra/launcher/slurm.yaml."""

    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    gpus_per_node: Annotated[int, Field(strict=True, ge=0)]
    jobs_per_gpu: Count = 1
    cpus_per_task: Count
    mem_gb: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)] | None
    timeout_min: Count
    max_num_timeout: Annotated[int, Field(strict=True, ge=0)]
    retries: Retries
    signal_delay_s: Annotated[int, Field(strict=True, ge=1)]
    array_parallelism: Count
    pack: PackSetting = "auto"
    fail_fast: FailFast = False
    setup: list[str]
    additional_parameters: dict[str, Any]

    @field_validator("jobs_per_gpu")
    @classmethod
    def _share_one_gpu(cls, jobs: int, info: ValidationInfo) -> int:
        gpus = info.data.get("gpus_per_node", 1)
        if jobs > 1 and gpus > 1:
            raise ValueError(f"must be 1 unless gpus_per_node is 1 or 0 (it is {gpus})")
        return jobs

    @property
    def timeout_s(self) -> float:
        """Seconds that each attempt may take."""
        return 60.0 * self.timeout_min

    def engine(self, fork_server: ForkServer, jobs: Sequence[Job], folder: Path) -> SlurmEngine:
        """The engine that runs these jobs of the sweep in `folder`.

        Raises:
            SettingsError: submitit or Slurm is not installed.
        """
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise SettingsError("hydra/launcher: slurm needs submitit: pip install submitit") from None
        if shutil.which("sbatch") is None:
            raise SettingsError("hydra/launcher: slurm needs Slurm's commands, and there is no sbatch on the path")
        return SlurmEngine(self, folder)


class Command:
    """A task, as it is called in the process that Slurm starts for it, and starts again after a time limit."""

    def __init__(self, task: Task, threads: int) -> None:
        self.call, self.words, self.again, self.folder = task.call, list(task.words), list(task.again), task.folder
        self.threads, self.title = threads, task.title

    def __call__(self) -> int:
        """Run the command; returns its exit code.

        Raises:
            SystemExit: Slurm told it to end, and may start it again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        _name_job(getattr(self, "title", ""))  # an earlier version has queued commands without it
        words = self.again if run_folder.holds_a_run(self.folder) else self.words
        with _printing_to(self.folder / CONSOLE):
            code = call_function(self.call, words, self.threads)
        if code in (INTERRUPTED, TERMINATED) or code < 0:  # below 0 when submitit has put the job into the queue again
            raise SystemExit(code)
        return code

    def checkpoint(self) -> Any:
        """The job that submitit puts into the queue when the time limit is near: the same one again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _name_job(title: str) -> None:
    """Say in Slurm's queue what this job runs: all jobs of an array are queued with one name."""
    job = _own_id(os.environ)
    if job and title:
        _ask_slurm("scontrol", "update", f"JobId={job}", f"JobName={title}")


def _own_id(environment: Mapping[str, str]) -> str:
    """The ID of this process's job, such as 7_3; empty outside Slurm.

    The last job of an array has the array's own number as SLURM_JOB_ID, which names all of its jobs.
    """
    array, member = (environment.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{member}" if array and member else environment.get("SLURM_JOB_ID", "")


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Send what this process prints to a file in this block."""
    copies = os.dup(1), os.dup(2)
    console = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    print_to(console)
    try:
        yield
    finally:
        for stream, copy in zip((1, 2), copies, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(console)


class SlurmEngine:
    """The queue of a Slurm cluster, for one sweep."""

    is_remote = True

    def __init__(self, settings: SlurmSettings, folder: Path) -> None:
        self.settings, self.folder, self.threads = settings, folder, settings.cpus_per_task
        self.slot_count, self.jobs_per_task = settings.array_parallelism, settings.jobs_per_gpu
        self.memory_of_task = None if settings.mem_gb is None else int(settings.mem_gb * 2**30)
        self.check_slot = Slot(None, "this machine", {"CUDA_VISIBLE_DEVICES": ""})
        partition = f"partition {settings.partition}" if settings.partition else "default partition"
        self.description = f"up to {settings.array_parallelism} at a time in Slurm's {partition}"
        self.queued: dict[str, str] = {}  # the IDs of Slurm's jobs, by the tasks' names
        self._jobs: dict[str, Any] = {}  # submitit's objects of these jobs, by the tasks' names
        self._adopted: dict[str, str] = {}  # the IDs of Slurm's jobs of another driver, by the tasks' names
        self._folders: dict[str, Path] = {}  # that driver's folder, by the IDs
        self._looked_at: set[Path] = set()  # the folders of other drivers whose jobs are known
        self._has_tidied = False  # True once files of earlier jobs were put aside
        self._asked = time.monotonic()  # when the scheduler was last asked
        self._retries: dict[str, int] = {}  # how often a task was put into the queue again
        self._unknown: dict[str, int] = {}  # how often in a row the scheduler did not know a task's job

    def refuse_running(self) -> None:
        """Raise SettingsError where jobs of an earlier sweep in the same folder are still in the queue."""
        ids = list(self._still_queued().values())
        if ids:
            raise SettingsError(
                f"hydra.sweep.dir: {self.folder} holds a sweep with jobs in Slurm's queue: wait for them with "
                f"kd-runner resume={self.folder}, or end them with scancel {_arrays(ids)}"
            )

    def queued_names(self) -> set[str]:
        """The names of the tasks of this folder that Slurm has not ended."""
        return set(self._still_queued())

    def adopt(self, folder: Path) -> None:
        """Find again the jobs that a driver which has ended left in the queue, with `folder` for its files."""
        if folder in self._looked_at:
            return
        recorded = atomic.read_json(folder / SLURM_FOLDER / QUEUED)
        known = in_queue() if recorded else set()
        if known is None:
            return
        self._looked_at.add(folder)
        folders = _folders_of_adopted(folder)
        for name, job in recorded.items():
            if isinstance(job, str) and job in known:
                self._adopted[name] = job
                self._folders[job] = folders.get(job, folder)

    def run(
        self, tasks: Sequence[Task], notify: Notify, tick: Tick, next_task: Callable[[], Task | None] = no_task
    ) -> None:
        """Queue all tasks that are not in the queue, wait, and write into each how it ended.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end; the jobs stay in the queue.
        """
        self._folders = {**_folders_of_adopted(self.folder), **self._folders}
        known = {**self._still_queued(), **self._adopted}
        if not self._has_tidied:
            put_aside(self.folder / SLURM_FOLDER, known.values())
            self._has_tidied = True
        self.queued = dict(known)  # also those of tasks that come later: no driver may lose sight of them
        unfinished = self._taken(tasks, known)
        try:
            while True:
                proposed: list[Task] = []
                while len(unfinished) + len(proposed) < self.slot_count and (task := next_task()) is not None:
                    proposed.append(task)
                unfinished += self._taken(proposed, {**known, **self._adopted})
                if not unfinished:
                    return
                time.sleep(LOOK)
                self._note_starts(unfinished, notify)
                for task in self._ended_tasks(unfinished):
                    if self._goes_on(task):
                        notify("retry", task)
                        continue
                    self._end(task)
                    unfinished.remove(task)
                    notify("end", task)
                raise_stop_signal()
                tick([task for task in unfinished if task.attempts])
                self._cancel_unwanted(unfinished)
        except (KeyboardInterrupt, SystemExit):
            ids = _arrays([self.queued[task.name] for task in unfinished])
            log.info("the jobs stay in Slurm's queue: scancel %s ends them, kd-report %s shows them", ids, self.folder)
            raise

    def _taken(self, tasks: Sequence[Task], known: Mapping[str, str]) -> list[Task]:
        """The tasks, which are in the queue from now on: some are `known` there, and the others are put into it."""
        before = {task.name: known[task.name] for task in tasks if task.name in known}
        if before:
            verb = "is" if len(before) == 1 else "are"
            log.info("queue     %s %s in it from before", number_of(len(before), "job"), verb)
            self.queued |= before
            self._write_queued()
        self._submit([task for task in tasks if task.name not in before])
        return list(tasks)

    def _write_queued(self) -> None:
        """Record the jobs in the queue, for the next driver."""
        files = self.folder / SLURM_FOLDER
        files.mkdir(parents=True, exist_ok=True)
        folders = {job: str(self._folders[job]) for job in self.queued.values() if job in self._folders}
        if folders:
            atomic.write_json(files / ADOPTED, folders)
        atomic.write_json(files / QUEUED, self.queued)

    def _cancel_unwanted(self, tasks: Sequence[Task]) -> None:
        """Have Slurm end the tasks that nobody needs any longer, or take them from its queue; once each."""
        unwanted = [self.queued[task.name] for task in tasks if task.unwanted and task.stop_at is None]
        for task in tasks:
            if task.unwanted and task.stop_at is None:
                task.stop_at = time.monotonic()
        if unwanted and _ask_slurm("scancel", *unwanted) is None:
            log.warning("queue     Slurm does not answer; to end what is not needed: scancel %s", " ".join(unwanted))

    def _still_queued(self) -> dict[str, str]:
        """The jobs of this folder that Slurm has not ended, by the tasks' names.

        Raises:
            RunFailed: Slurm does not answer.
        """
        recorded = atomic.read_json(self.folder / SLURM_FOLDER / QUEUED)
        if not recorded:
            return {}
        known = in_queue()
        if known is None:
            raise RunFailed("Slurm does not answer (squeue), so it may still run jobs of this sweep; try again later")
        return {name: job for name, job in recorded.items() if isinstance(job, str) and job in known}

    def _submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks into the queue, in one array for all that wait for the same tasks."""
        arrays: dict[tuple[str, ...], list[Task]] = {}
        for task in sorted(tasks, key=lambda task: bool(task.after)):
            arrays.setdefault(tuple(needed.name for needed in task.after), []).append(task)
        for needed_names, members in arrays.items():
            for task in members:  # a console of an earlier attempt would look like the start of this one
                (task.folder / CONSOLE).unlink(missing_ok=True)
            try:
                ids = self._submit_array(members, [self.queued[name] for name in needed_names if name in self.queued])
            except SettingsError as error:
                if not self.queued:
                    raise
                stay = _arrays(list(self.queued.values()))
                raise RunFailed(f"{error}; what it had taken before stays: scancel {stay} ends it") from None
            self.queued |= dict(zip((task.name for task in members), ids, strict=True))
            self._write_queued()
            log.info("queue     %d as Slurm job %s", len(members), _arrays(ids))

    def _submit_array(self, tasks: Sequence[Task], needed_ids: Sequence[str]) -> list[str]:
        """The IDs of Slurm's jobs for these tasks, which start when the jobs `needed_ids` have ended.

        Raises:
            SettingsError: Slurm refuses them.
        """
        from submitit.core.utils import FailedJobError

        jobs_of_task = max(max(1, len(task.members)) for task in tasks)
        executor = self._executor(needed_ids, {name for task in tasks for name in task.variables}, jobs_of_task)
        try:
            with executor.batch():
                jobs = [executor.submit(Command(task, self.threads)) for task in tasks]
        except FailedJobError as error:
            lines = str(error).splitlines()
            messages = [line for line in lines if "error" in line.lower()] or [str(error)]
            raise SettingsError(f"hydra.launcher: Slurm refused the jobs: {messages[-1].strip()}") from None
        return [job.job_id for job in jobs]

    def _executor(self, needed_ids: Sequence[str], variables: Iterable[str] = (), jobs_of_task: int = 1) -> Any:
        """The executor of submitit that has the launcher's settings.

        Args:
            variables: The names of the environment variables that the jobs depend on.
            jobs_of_task: The largest number of jobs in a task, which may go on after as many time limits.
        """
        import submitit

        settings = self.settings
        sbatch = dict(settings.additional_parameters)
        if export := export_option(variables, sbatch.get("export")):
            sbatch["export"] = export
        if needed_ids:  # however they ended: a job that lacks its teacher trains it
            sbatch["dependency"] = "afterany:" + ":".join(needed_ids)
        files = self.folder / SLURM_FOLDER
        files.mkdir(parents=True, exist_ok=True)
        timeouts = settings.max_num_timeout * jobs_of_task
        executor = submitit.AutoExecutor(
            files / "%j", cluster="slurm", slurm_max_num_timeout=timeouts, slurm_python=python_for_shell()
        )
        optional: dict[str, Any] = {"partition": settings.partition, "account": settings.account, "qos": settings.qos}
        optional |= {"constraint": settings.constraint, "gpus_per_node": settings.gpus_per_node or None}
        executor.update_parameters(
            name="kd-runner",
            nodes=1,
            tasks_per_node=1,
            timeout_min=settings.timeout_min,
            cpus_per_task=settings.cpus_per_task,
            slurm_array_parallelism=settings.array_parallelism,
            slurm_signal_delay_s=settings.signal_delay_s,
            slurm_setup=settings.setup,
            slurm_additional_parameters=sbatch,
            **({} if settings.mem_gb is None else {"mem_gb": settings.mem_gb}),
            **{f"slurm_{name}": value for name, value in optional.items() if value is not None},
        )
        return executor

    def _note_starts(self, tasks: Sequence[Task], notify: Notify) -> None:
        """Tell of the tasks that have begun to print since the last call."""
        for task in tasks:
            if not task.attempts and (task.folder / CONSOLE).exists():
                task.note_start(Slot(None, f"Slurm job {self.queued[task.name]}"))
                notify("start", task)

    def _ended_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that have a result, and those whose jobs the queue did not have twice in a row."""
        ended = [task for task in tasks if self._job(task).paths.result_pickle.exists()]
        if time.monotonic() - self._asked > ASK:
            self._asked, known = time.monotonic(), in_queue()
            for task in tasks:
                is_lost = known is not None and self.queued[task.name] not in known
                self._unknown[task.name] = self._unknown.get(task.name, 0) + 1 if is_lost else 0
            ended += [task for task in tasks if self._unknown[task.name] > 1 and task not in ended]
        return ended

    def _job(self, task: Task) -> Any:
        """The job of a task, as submitit knows it."""
        import submitit

        if task.name not in self._jobs:
            folder = self._folders.get(self.queued[task.name], self.folder)
            self._jobs[task.name] = submitit.SlurmJob(folder / SLURM_FOLDER / "%j", self.queued[task.name], [0])
        return self._jobs[task.name]

    def _goes_on(self, task: Task) -> bool:
        """True where the task's process was killed, and is in the queue again, to go on from its last epoch."""
        job, retries = self._job(task), self._retries.get(task.name, 0)
        if task.unwanted or job.paths.result_pickle.exists() or retries >= self.settings.retries:
            return False
        if state_of_job(job.job_id).partition(" ")[0] not in KILLED:
            return False
        try:
            ids = self._submit_array([task], [])
        except SettingsError as error:
            log.warning("queue     %s was killed, and is not started again: %s", task.name, error)
            return False
        self._retries[task.name] = retries + 1
        self.queued[task.name] = ids[0]
        del self._jobs[task.name]
        self._unknown[task.name] = 0
        self._write_queued()
        log.info("queue     %s goes on as Slurm job %s", task.name, ids[0])
        return True

    def _end(self, task: Task) -> None:
        """Write into the task how it ended."""
        task.note_end(Slot(None, "Slurm"))
        job = self._job(task)
        if not job.paths.result_pickle.exists():
            files = self._folders.get(job.job_id, self.folder) / SLURM_FOLDER / job.job_id
            retries = self._retries.get(task.name, 0)
            times = f", {retries + 1} times" if retries else ""
            task.code, task.reason = 1, f"Slurm ended it{times}: {state_of_job(job.job_id)}; see {files}"
            return
        task.code, message = outcome(job.paths.result_pickle)
        if message:
            task.reason = message.splitlines()[-1]
        elif task.code:
            message = str(atomic.read_json(task.folder / RESULT).get("error"))
        if "timed-out" in message:  # submitit says so in the job where it may not be started again
            settings = self.settings
            task.reason = (
                f"it reached its time limit of {settings.timeout_min} min for the {settings.max_num_timeout + 1}. time "
                "(hydra.launcher.timeout_min, hydra.launcher.max_num_timeout)"
            )


def _folders_of_adopted(folder: Path) -> dict[str, Path]:
    """The folders of drivers whose files the jobs of the driver with this folder use, by the jobs' IDs."""
    recorded = atomic.read_json(folder / SLURM_FOLDER / ADOPTED)
    return {job: Path(path) for job, path in recorded.items() if isinstance(path, str)}


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts and tuples of them, and imports nothing: a sweep's folder may be a stranger's."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for what lies in another file")


def outcome(path: Path) -> tuple[int, str]:
    """The exit code in the file that submitit writes when a job ends, and the text of the error that ended it."""
    try:
        kind, value = _PlainUnpickler(io.BytesIO(read_plain(path, MOST_OUTCOME))).load()
    except Exception as error:  # whatever is in the file
        return 1, f"{path} cannot be read: {one_line(error)}"
    if kind == "success" and isinstance(value, int):
        return int(value), ""
    if kind == "error" and isinstance(value, str):
        return 1, value.strip() or "it failed"
    return 1, f"{path} does not say how the job ended"


def put_aside(files: Path, running: Iterable[str]) -> None:
    """Move what lies in the folder of submitit's files into a folder of its own, less what running jobs need.

    Slurm's numbers begin anew on another cluster, and can be guessed: the files of a new job must not be there before
    it is submitted, or the job would start, or seem to end, with what somebody else wrote.
    """
    needed = {QUEUED, ADOPTED, *running}
    entries = list(files.iterdir()) if files.is_dir() else []
    moved = [path for path in entries if path.name not in needed and not path.name.startswith(ASIDE)]
    if moved:
        aside = files / f"{ASIDE}{uuid.uuid4().hex}"
        aside.mkdir(mode=0o700)
        for path in moved:
            path.rename(aside / path.name)


def export_option(variables: Iterable[str], chosen: str | None) -> str | None:
    """The names for sbatch's --export that give jobs these environment variables; None where jobs have them anyway.

    Slurm hands values from the driver's environment to its jobs. In a file of the sweep they could be read by others.

    Args:
        chosen: The option that the settings have.
    """
    chosen, names = chosen or os.environ.get("SBATCH_EXPORT"), sorted(variables)
    parts = [part for part in (chosen or "ALL").split(",") if part != "NONE"]
    return None if "ALL" in parts or not names else ",".join([*parts, *names])


def in_queue() -> set[str] | None:
    """The IDs of this user's jobs that Slurm has not ended; None where it does not answer."""
    output = _ask_slurm("squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}")
    return None if output is None else set(output.split())


def state_of_job(job: str) -> str:
    """The state in which a job ended, such as CANCELLED. Slurm remembers it for some minutes at least."""
    match = re.search(r"JobState=(\w+) Reason=(\w+)", _ask_slurm("scontrol", "show", "job", job) or "")
    if match:
        state, reason = match.groups()
        return state if reason == "None" else f"{state} ({reason})"
    return (_ask_slurm("sacct", "-nXP", "-o", "State", "-j", job) or "").strip() or "it is not known any more"


def _ask_slurm(*command: str) -> str | None:
    """The output of one of Slurm's commands; None where it fails."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None


def _arrays(ids: Sequence[str]) -> str:
    """The arrays that jobs belong to, as arguments of scancel."""
    return " ".join(sorted({job.partition("_")[0] for job in ids}))
