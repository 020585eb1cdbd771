"""A sweep over a grid: all jobs are checked before one starts, and a job that fails does not end the sweep."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_runner import redaction
from kd_runner.command_line.unused_in_sweep import sentences_of_sweep
from kd_runner.config.sections import MOST_JOBS_WITH_IMAGES
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files.failed_trainings import forget_failed_trainings
from kd_runner.formats import number_of
from kd_runner.notes import note
from kd_runner.runs.resume.same_settings import refuse_other_settings
from kd_runner.sweeps.checks import examine_jobs, refuse_completed, refuse_other_folders
from kd_runner.sweeps.early_end import EarlyEnd, forget_stops, stop_reason
from kd_runner.sweeps.end_reasons import end_reason
from kd_runner.sweeps.engine import Engine, LauncherSettings
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.folder import emptied_job_folders, remove_check, write_grid
from kd_runner.sweeps.jobs import Job, completed_result, task_of, training_tasks
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.network_names import write_network_names
from kd_runner.sweeps.packs.tasks import Packing, pack_tasks
from kd_runner.sweeps.queue_names import queue_name

log = logging.getLogger(__name__)


def run_grid(
    jobs: Sequence[Job], folder: Path, launcher_settings: LauncherSettings, resumed: bool, flags: Sequence[str]
) -> list[dict[str, Any] | str]:
    """Run the jobs; returns the result of each job, or the reason why it has none, in the order of `jobs`.

    Args:
        resumed: True if an interrupted sweep goes on: jobs that have a result are not run again.
        flags: Flags of the command line that each job gets, such as --config-dir.

    Raises:
        SettingsError: a job that cannot work, or one that has completed with other settings; none was started.
    """
    outcomes: dict[int, dict[str, Any] | str] = {}
    for job in jobs:
        result = completed_result(job) if resumed else None
        if result is not None:
            content = redaction.masked_data(redaction.hide_values(job.settings, list(job.expressions)))
            refuse_other_settings(job.folder, content, job.overrides)
            outcomes[job.number] = result
    if outcomes:
        log.info("sweep     %d of %s were completed before", len(outcomes), number_of(len(jobs), "job"))
    missing = [job for job in jobs if job.number not in outcomes]
    tasks = run_missing(missing, jobs, folder, launcher_settings, resumed, flags) if missing else {}
    for job in missing:
        result = completed_result(job)
        outcomes[job.number] = result or reason_of_failure(job, tasks[job.number], launcher_settings.timeout_s)
    return [outcomes[job.number] for job in jobs]


def run_missing(
    missing: Sequence[Job],
    jobs: Sequence[Job],
    folder: Path,
    launcher_settings: LauncherSettings,
    resumed: bool,
    flags: Sequence[str],
) -> dict[int, Task]:
    """Check and run the jobs of a sweep that have no result; returns their tasks, which have ended, by number.

    Args:
        jobs: All jobs of the sweep.

    Raises:
        SettingsError: a job that cannot work; none was started.
    """
    fork_server = ForkServer()
    try:
        engine = launcher_settings.engine(fork_server, missing, folder)
        forget_stops(missing)
        forget_failed_trainings(folder)
        if not resumed:
            engine.refuse_running()
            refuse_completed(missing, folder)
            refuse_other_folders(missing)
        examination = examine_jobs(missing, folder, fork_server, engine)
        note_unused(missing, examination["unused"])
        write_grid(jobs, folder, digits=len(str(len(jobs) - 1)))
        log.info("sweep     %s, %s: %s", number_of(len(missing), "job"), engine.description, folder)
        if len(jobs) > MOST_JOBS_WITH_IMAGES and any(job.settings["tracking"]["images"] == "auto" for job in jobs):
            log.info("sweep     TensorBoard has no pictures of so many jobs, tracking.images=true draws them")
        training = training_tasks(examination["networks"], missing, folder, missing[0].variables)
        write_network_names(folder, {task.folder.name: task.name for task in training.values()})
        tasks = {job.number: replace(task_of(job, training, flags), title=queue_name(job)) for job in missing}
        with emptied_job_folders([] if resumed else missing, folder), LiveView(len(missing)) as live_view:
            live_view.jobs = {job.name: job for job in missing}
            live_view.timeout_s = launcher_settings.timeout_s
            limits = (launcher_settings.timeout_s, engine.memory_of_task)
            packing = Packing(
                launcher_settings.pack, engine.slot_count, *limits, not engine.is_remote, engine.jobs_per_task
            )
            packed = pack_tasks(tasks, examination, packing, folder, engine.queued_names())
            scheduled = [*training.values(), *packed]
            jobs_by_number = {job.number: job for job in missing}
            early_end = EarlyEnd(jobs_by_number, tasks, scheduled, folder, launcher_settings.fail_fast, live_view)
            engine.run(scheduled, early_end.notify, early_end.tick)
            leftovers = [task for task in tasks.values() if task.code is None and not task.unwanted]
            run_leftovers(leftovers, engine, early_end)
            early_end.close()
    finally:
        fork_server.close()
        forget_failed_trainings(folder)
    remove_check(folder, jobs_ended=True)
    return tasks


def run_leftovers(tasks: Sequence[Task], engine: Engine, early_end: EarlyEnd) -> None:
    """Run alone what packs have left undone, because they were killed again and again.

    Raises:
        RunFailed: the tasks cannot be started.
    """
    if not tasks:
        return
    for task in tasks:
        task.after = ()  # these have ended
    try:
        engine.run(tasks, early_end.notify, early_end.tick)
    except SettingsError as error:  # what has completed stays
        raise RunFailed(str(error)) from error


def note_unused(jobs: Sequence[Job], unused: Mapping[str, Mapping[str, str]], partly: bool = True) -> None:
    """Note the settings without effect, each in one line that says in which jobs.

    Args:
        unused: The settings without effect and the reasons, by job; from `kd_runner.sweeps.preflight.examine`.
        partly: True to note also settings that have an effect in some of the jobs.
    """
    reasons_of_jobs = {int(number): reasons for number, reasons in unused.items() if reasons}
    for line in sentences_of_sweep({job.number: job.varying for job in jobs}, reasons_of_jobs, partly):
        note("settings", line)


def reason_of_failure(job: Job, task: Task, timeout_s: float | None) -> str:
    """The reason why a job has no result, in a line."""
    if task.unwanted:
        return stop_reason(job, task)
    return end_reason(job.folder, task, timeout_s)
