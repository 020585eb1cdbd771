"""A search from its start to its outcome."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError

from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files.failed_trainings import forget_failed_trainings
from kd_runner.files.run_folder import CHECKED
from kd_runner.formats import number_of
from kd_runner.notes import note
from kd_runner.sweeps.checks import Compose, WrongJobs, examine_jobs, refuse_common_folders
from kd_runner.sweeps.engine import Engine, LauncherSettings
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.ray_cluster import MANY
from kd_runner.sweeps.grid import note_unused
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.drivers import Driver, has_study
from kd_runner.sweeps.search.space import Space
from kd_runner.sweeps.search.storage import kind_of, reason_of
from kd_runner.sweeps.search.study import SearchSettings, propose_trial
from kd_runner.sweeps.search.together import together_of
from kd_runner.sweeps.search.trial_queue import TrialQueue
from kd_runner.sweeps.search.trials import SearchOutcome, Trials

log = logging.getLogger(__name__)


def run_search(
    search: SearchSettings,
    space: Space,
    driver: Driver,
    launcher_settings: LauncherSettings,
    flags: Sequence[str],
    compose: Compose,
) -> SearchOutcome:
    """Run the trials that are missing, in a folder that this process is a driver of by `driver_of`.

    Args:
        flags: Flags of the command line, such as --config-dir, which each trial gets, too.
        compose: Composes the settings of a trial.

    Raises:
        SettingsError: settings that cannot work; nothing was started.
        RunFailed: the search cannot go on.
    """
    try:
        return _search(search, space, driver, launcher_settings, flags, compose)
    except StorageInternalError as error:
        reason = reason_of(error, search.storage)
        raise RunFailed(f"hydra.sweeper.storage: the {kind_of(search.storage)} does not answer ({reason})") from error
    except OSError as error:  # a full disk, say
        raise RunFailed(f"the search cannot be written down: {error}") from error


def _search(
    search: SearchSettings,
    space: Space,
    driver: Driver,
    launcher_settings: LauncherSettings,
    flags: Sequence[str],
    compose: Compose,
) -> SearchOutcome:
    folder = driver.search_folder
    trials = Trials(search, space, driver, flags, compose) if has_study(folder) else None
    if trials is not None and not trials.trials_left:
        log.info("search    %d of %s have ended before", len(trials.jobs), number_of(trials.planned_count, "trial"))
        return trials.outcome()
    fork_server = ForkServer()
    forget_failed_trainings(folder)
    try:
        jobs = jobs_to_check(search, space, folder, compose)
        engine = launcher_settings.engine(fork_server, jobs, driver.folder)
        if engine.is_remote and launcher_settings.pack not in ("auto", "off"):
            raise SettingsError(
                "hydra.launcher.pack: must be auto or off in a search through Slurm or Ray, where each trial is a job, "
                f"got {launcher_settings.pack}"
            )
        if engine.jobs_per_task > 1:
            raise SettingsError(f"hydra.launcher.jobs_per_gpu: must be 1 in a search, got {engine.jobs_per_task}")
        report = check_jobs(jobs, driver.folder, fork_server, engine)
        pack = "off" if engine.is_remote else launcher_settings.pack
        note_many_at_a_time(search, engine.slot_count if engine.is_remote else 1)
        together = together_of(search, pack, engine.slot_count, jobs, report)
        trials = trials or Trials(search, space, driver, flags, compose)
        trials.settings, trials.first_seed = jobs[0].settings, int(jobs[0].settings["seed"])
        log.info("search    %s, %s: %s", trials.trials_left_in_words, engine.description, folder)
        count_all = trials.count_all if driver.is_one_of_many else None
        noun = "trial" if driver.is_one_of_many or search.seeds == 1 else "run"  # each trial has one with each seed
        with LiveView(trials.trials_left, noun=noun, count_all=count_all) as live_view:
            variables = {name: value for job in jobs for name, value in job.variables.items()}
            TrialQueue(trials, engine, together, live_view, launcher_settings.timeout_s, variables).run()
    finally:
        fork_server.close()
        forget_failed_trainings(folder)
    return trials.outcome()


def note_many_at_a_time(search: SearchSettings, slots: int) -> None:
    """Note that a sampler which learns has little to learn from, where a cluster runs most trials at a time."""
    if search.sampler != "random" and min(slots, search.trials) > search.startup_trials and slots < MANY:
        note(
            "search",
            f"{min(slots, search.trials)} of {search.trials} trials run at a time, proposed before others have ended; "
            "with a smaller hydra.launcher.array_parallelism the sampler learns more",
        )


def check_jobs(jobs: Sequence[Job], folder: Path, fork_server: ForkServer, engine: Engine) -> dict[str, Any]:
    """Try jobs before a search starts, note the settings without effect in any of them, and return the report.

    Raises:
        SettingsError: the first job that cannot work.
    """
    try:
        report = examine_jobs(jobs, folder, fork_server, engine)
    except WrongJobs as error:  # jobs to check are no trials: how many of them it concerns says nothing
        raise SettingsError(f"job {error.faults[0].job}: {error.faults[0].reason}".splitlines()[0]) from error
    note_unused(jobs, report["unused"], partly=False)
    shutil.rmtree(folder / CHECKED, ignore_errors=True)
    return report


def jobs_to_check(search: SearchSettings, space: Space, folder: Path, compose: Compose) -> list[Job]:
    """The first trial as a job, and jobs that differ from it in one key, which has one of the values to check.

    Raises:
        SettingsError: one of them cannot be composed.
    """
    jobs = []
    for number, varying in enumerate(space.neighbours(propose_trial(search, space, []).params)):
        try:
            settings, name, origin = compose(number, [*space.fixed, *varying])
        except SettingsError as error:
            raise SettingsError(f"job #{number} ({' '.join(varying)}): {str(error).splitlines()[0]}") from error
        known = (origin.variables, origin.expressions)
        jobs.append(Job(number, varying, list(space.fixed), settings, folder / name, *known))
    refuse_common_folders(jobs, folder)
    return jobs
