"""The leaderboard at the end of a sweep."""

from __future__ import annotations

import logging
from pathlib import Path

from kd_runner.closed_output import discard_output

log = logging.getLogger(__name__)


def write_leaderboard(folder: Path, with_commands: bool = True) -> None:
    """Write and print the sweep's leaderboard; an error on the way is a warning, since the results are there.

    Args:
        with_commands: False where the commands of chosen trials follow.
    """
    from kd_runner.reports.sweep_report import report  # not before the jobs have run

    try:
        log.info("%s", report([folder], folder, with_commands=with_commands))
    except BrokenPipeError:  # all is written; nobody reads what is printed
        discard_output()
    except Exception as error:  # a table must not take the sweep with it
        log.warning("note      the leaderboard could not be written: %s", error)
