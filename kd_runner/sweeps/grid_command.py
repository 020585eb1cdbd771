"""The command that sweeps over a grid, from its words to the leaderboard: `hydra/sweeper=grid`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from hydra.core.utils import JobReturn

from kd_runner.command_line.refused_command_cleanup import folder_goes_where_refused
from kd_runner.command_line.sweep_start import SweepStart
from kd_runner.command_line.typed_words import idle_launcher_words
from kd_runner.errors import RunFailed
from kd_runner.formats import number_of
from kd_runner.notes import collected_notes
from kd_runner.plain_text import lines
from kd_runner.sweeps.early_end import JobFailed, end_message
from kd_runner.sweeps.folder import exclusive_folder, refuse_other_grid
from kd_runner.sweeps.leaderboard import write_leaderboard

log = logging.getLogger(__name__)


def run_grid_command(
    start: SweepStart, combinations: Sequence[Sequence[str]], launch: Callable[[], Sequence[JobReturn]]
) -> Sequence[JobReturn]:
    """Run a sweep to its end; returns what `launch` returns for each job.

    Args:
        combinations: The overrides of each job.
        launch: Runs the jobs.

    Raises:
        SettingsError: a job that cannot work, or a folder that holds another sweep; nothing was started.
        RunFailed: naming the jobs that have no result, after all others ended.
    """
    if len(combinations) == 1:
        log.info("sweep     of one job: no setting has several values, as seed=0,1,2 has")
    else:
        log.info("starting  a sweep of %s", number_of(len(combinations), "job"))
    # A note on several jobs is said once.
    with folder_goes_where_refused(start.folder), exclusive_folder(start.folder, start.is_resumed), collected_notes():
        start.note_words(idle_launcher_words(start.invocation.typed_words, start.config.hydra.launcher))
        refuse_other_grid(start.folder, combinations, start.is_resumed)
        with start.record():
            returns = launch()
        write_leaderboard(start.folder)
    values = [job_return._return_value for job_return in returns]
    failures = [value for value in values if isinstance(value, JobFailed)]
    if failures:
        raise RunFailed(lines(end_message(len(returns), failures, start.invocation.resume_hint)))
    return returns
