"""The check of a sweep: every job is composed and tried before any starts."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.command_line.resume import resume_override
from kd_runner.command_line.unused_in_sweep import OVERRIDES
from kd_runner.config.fingerprint import digest
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic, run_folder
from kd_runner.files.contents import foreign_names, is_link, is_of_a_run
from kd_runner.files.run_folder import CHECKED, CONSOLE, LOCK, PLAN, PROGRESS
from kd_runner.plain_text import lines
from kd_runner.reports.replaceable import tables_of_report
from kd_runner.sweeps.check_progress import CheckProgress, read_progress
from kd_runner.sweeps.engine import Engine
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.pool import Limits, Pool
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.faults import Fault, fault_lines
from kd_runner.sweeps.job_file import write_jobs
from kd_runner.sweeps.jobs import Job, completed_result

# Composes the job of that number from its overrides: its settings, the name of its folder, and what it takes from the
# environment.
Compose = Callable[[int, Sequence[str]], tuple[dict[str, Any], str, FromEnvironment]]


def compose_jobs(combinations: Sequence[Sequence[str]], folder: Path, compose: Compose, first: int = 0) -> list[Job]:
    """The jobs of a sweep, each with settings whose kinds and ranges have been checked.

    Args:
        combinations: The overrides of each job.
        first: The number of the first job.

    Raises:
        WrongJobs: jobs that cannot be composed.
    """
    with CheckProgress("composing", len(combinations)) as progress:
        jobs, faults = _compose(combinations, folder, compose, first, progress)
    raise_if_any(faults, len(combinations))
    refuse_common_folders(jobs, folder)
    return jobs


def _compose(
    combinations: Sequence[Sequence[str]], folder: Path, compose: Compose, first: int, progress: CheckProgress
) -> tuple[list[Job], list[Fault]]:
    """The jobs that can be composed, and what is wrong with each other one; see `compose_jobs`."""
    jobs, faults = [], []
    counts = Counter(override for overrides in combinations for override in set(overrides))
    everywhere = {override for override, count in counts.items() if count == len(combinations)}
    numbers: dict[str, int] = {}  # the first job with these settings, by their digest
    for number, overrides in enumerate(combinations, first):
        progress.show(number - first)
        varying = [override for override in overrides if override not in everywhere]
        shared = [override for override in overrides if override in everywhere]
        name = f"#{number} ({' '.join(varying) or ' '.join(overrides)})"
        try:
            settings, folder_name, origin = compose(number, overrides)
        except SettingsError as error:
            faults.append(Fault(name, str(error).splitlines()[0]))
            continue
        job_folder = folder / folder_name
        jobs.append(Job(number, varying, shared, settings, job_folder, origin.variables, origin.expressions))
        twin = numbers.setdefault(digest(settings), number)
        if twin != number:
            faults.append(Fault(name, f"must have other settings than job #{twin}: give each value once"))
    return jobs, faults


class WrongJobs(SettingsError):
    """Jobs that cannot work, told in a line for each fault.

    Args:
        count: The number of all jobs.
    """

    def __init__(self, faults: Sequence[Fault], count: int) -> None:
        super().__init__(lines(fault_lines(faults, count)))
        self.faults = faults


def raise_if_any(faults: Sequence[Fault], count: int) -> None:
    """Raise WrongJobs where any of `count` jobs has a fault."""
    if faults:
        raise WrongJobs(faults, count)


def refuse_common_folders(jobs: Sequence[Job], folder: Path) -> None:
    """Raise SettingsError unless each job has a folder of its own below `folder`."""
    folders = [job.folder.resolve() for job in jobs]
    names = [str(path) for path in folders]
    if ignores_case(folder):
        names = [unicodedata.normalize("NFC", name).casefold() for name in names]
    if len(set(names)) < len(names) or not all(folder.resolve() in path.parents for path in folders):
        raise SettingsError("hydra.sweep.subdir: must give each job a folder of its own below hydra.sweep.dir")


def ignores_case(folder: Path) -> bool:
    """True where names below `folder` that differ in their case alone are the same, as on Windows and macOS."""
    return (folder / LOCK).exists() and (folder / LOCK.upper()).exists()


def refuse_other_folders(jobs: Sequence[Job]) -> None:
    """Raise SettingsError where the folder of a job, which is to be emptied, holds more than a run without a result."""
    for job in jobs:
        if is_link(job.folder) or (job.folder.exists() and not job.folder.is_dir()):
            raise SettingsError(f"hydra.sweep.dir: {job.folder} must be a folder, it is a link or a file")
        if not job.folder.is_dir():
            continue
        foreign = foreign_names(job.folder, tables_of_report(job.folder))
        names = [name for name in foreign if not is_of_a_run(name) or is_link(job.folder / name)]
        is_run = run_folder.holds_a_run(job.folder) or (job.folder / CONSOLE).exists()
        if names or (any(job.folder.iterdir()) and not is_run):
            content = f"holds {names[0]}" if names else "holds something"
            raise SettingsError(f"hydra.sweep.dir: {job.folder} {content} that is no run of kd-runner")


def refuse_completed(jobs: Sequence[Job], folder: Path) -> None:
    """Raise SettingsError where a job has completed: its result is never replaced."""
    completed = [job for job in jobs if completed_result(job) is not None]
    if completed:
        raise SettingsError(
            f"hydra.sweep.dir: {folder} holds completed runs of this sweep ({len(completed)} of {len(jobs)}); "
            f"go on with it: {resume_override(folder)}, or choose another folder"
        )


def examine_jobs(jobs: Sequence[Job], folder: Path, fork_server: ForkServer, engine: Engine) -> dict[str, Any]:
    """The report of `kd_runner.sweeps.preflight.examine` about the jobs, from a process of its own.

    Raises:
        WrongJobs: jobs that cannot work.
        RunFailed: the process failed.
    """
    check_folder = folder / CHECKED
    check_folder.mkdir(parents=True, exist_ok=True)
    for path in check_folder.iterdir():
        if not path.name.startswith(PLAN):  # which a pack in Slurm's queue reads when it starts
            path.unlink()
    check_folder.chmod(0o700)
    settings_file, report_file = check_folder / "jobs.json", check_folder / "found.json"
    write_jobs(settings_file, jobs)
    atomic.write_json(check_folder / OVERRIDES, {job.number: job.overrides for job in jobs})
    words = [str(settings_file), str(report_file), *(["remote"] if engine.is_remote else [])]
    task = Task("check", check_folder, words, [], call="kd_runner.sweeps.preflight:examine")
    limits = Limits(timeout_s=None, grace_s=1.0, retries=1)
    with CheckProgress("checking", len(jobs)) as progress:
        tick = lambda _: progress.show(read_progress(check_folder / PROGRESS))  # noqa: E731
        Pool(fork_server, [engine.check_slot], engine.threads, limits, lambda *_: None, tick).run([task])
    if task.code != 0:
        last_line = (check_folder / CONSOLE).read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise RunFailed(
            f"the jobs could not be checked (exit code {task.code}): {' '.join(last_line) or 'it printed nothing'}"
        )
    report: dict[str, Any] = json.loads(report_file.read_text())
    errors = report["errors"]
    faults = [Fault(str(job), errors[str(job.number)]) for job in jobs if str(job.number) in errors]
    raise_if_any(faults, len(jobs))
    return report
