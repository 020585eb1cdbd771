"""A sweep over a grid on one machine: checked before it starts, fanned out over devices, kept going past failures."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.command_line.unused_in_sweep import sentences_of_sweep
from kd_runner.files import atomic
from kd_runner.files.run_folder import CHECKED, CONSOLE
from kd_runner.notes import note
from kd_runner.sweeps.checks import examine_jobs, refuse_other_folders
from kd_runner.sweeps.engine import Launching
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.folder import emptied_job_folders, write_grid
from kd_runner.sweeps.jobs import Job, earlier_result, networks_first, task_of
from kd_runner.sweeps.live_view import LiveView

log = logging.getLogger(__name__)


def run_grid(
    jobs: Sequence[Job], folder: Path, options: Launching, resumed: bool, flags: Sequence[str]
) -> list[dict[str, Any] | str]:
    """Run the jobs; returns the result of each, or what went wrong with it.

    Args:
        flags: Of the command line, such as --config-dir, for every job's.

    Raises:
        SettingsError: a job that cannot work; none was started.
    """
    outcomes: dict[int, dict[str, Any] | str] = {}
    for job in jobs:
        before = earlier_result(job) if resumed else None
        if before is not None:
            outcomes[job.number] = before
    left = [job for job in jobs if job.number not in outcomes]
    if outcomes:
        log.info("sweep     %d of %d jobs were completed before", len(outcomes), len(jobs))
    if not left:
        return [outcomes[job.number] for job in jobs]
    nursery = ForkServer()
    try:
        engine = options.engine(nursery, left, folder)
        if not resumed:
            engine.refuse_running()
            refuse_other_folders(left)
        found = examine_jobs(left, folder, nursery, engine)
        note_unused(left, found)
        write_grid(jobs, folder, digits=len(str(len(jobs) - 1)))
        log.info("sweep     %d jobs, %s: %s", len(left), engine.where, folder)
        prepared = networks_first(found["networks"], folder, left[0].variables)
        tasks = {job.number: task_of(job, prepared, flags) for job in left}
        with emptied_job_folders([] if resumed else left, folder), LiveView(len(left)) as board:
            board.jobs = {tasks[job.number].name: job for job in left}
            engine.run([*prepared.values(), *tasks.values()], board.notify, board.tick)
    finally:
        nursery.close()
    shutil.rmtree(folder / CHECKED, ignore_errors=True)
    for job in left:
        result = earlier_result(job)
        outcomes[job.number] = result if result is not None else what_happened(job, tasks[job.number], options)
    return [outcomes[job.number] for job in jobs]


def note_unused(jobs: Sequence[Job], found: Mapping[str, Any], some: bool = True) -> None:
    """Say once for the sweep which keys have no effect in which jobs.

    Args:
        found: What `examined` returned.
        some: Also of keys that count in other jobs.
    """
    unused = {int(number): reasons for number, reasons in found["unused"].items() if reasons}
    for line in sentences_of_sweep({job.number: job.own for job in jobs}, unused, some):
        note("settings", line)


def what_happened(job: Job, task: Task, options: Launching) -> str:
    """Why a job has no result, in a line."""
    if task.timed_out:
        return f"it took longer than {options.timeout_s:g} s (hydra.launcher.timeout_s)"
    if task.code is not None and task.code < 0:
        name = signal.Signals(-task.code).name
        return f"its process was killed by {name}, {task.attempts} time{'s' if task.attempts > 1 else ''}"
    if task.why:
        return task.why
    written = job.folder / "result.json"
    result = atomic.read_json(written)
    if result.get("error") and task.first_started and written.stat().st_mtime >= task.first_started - 1:
        return str(result["error"])
    try:
        lines = (job.folder / CONSOLE).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    said = [line.removeprefix("kd-runner: ") for line in lines if line.startswith("kd-runner: ")] or lines[-1:]
    return f"{said[-1] if said else 'it said nothing'} (exit code {task.code})"
