"""The command that searches, from its words to the best trials: `hydra/sweeper=optuna`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hydra.core.override_parser.types import Override

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.command_line.refused_command_cleanup import folder_goes_where_refused
from kd_runner.command_line.sweep_start import SweepStart
from kd_runner.command_line.typed_words import idle_search_words
from kd_runner.config.validation import validate_section
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.formats import number_of
from kd_runner.notes import collected_notes
from kd_runner.plain_text import lines
from kd_runner.sweeps.engine import LauncherSettings
from kd_runner.sweeps.leaderboard import write_leaderboard
from kd_runner.sweeps.search.run import run_search
from kd_runner.sweeps.search.space import space_of
from kd_runner.sweeps.search.study import SearchSettings, driver_of, refuse_other_search, refuse_other_space
from kd_runner.sweeps.search.trials import SearchOutcome

log = logging.getLogger(__name__)


class TrialLauncher(Protocol):
    """The launcher that Hydra made, as far as a search asks it."""

    def settings(self) -> LauncherSettings:
        """The launcher's settings, checked."""

    def flags(self) -> list[str]:
        """Flags of the command line, such as --config-dir, which each trial gets, too."""

    def compose(self, number: int, overrides: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
        """The settings of a trial, its folder's name, and what it takes from the environment."""


def run_search_command(
    start: SweepStart, settings: Mapping[str, Any], overrides: Sequence[Override], launcher: TrialLauncher
) -> None:
    """Run a search to its end.

    Args:
        settings: The keys of conf/hydra/sweeper/optuna.yaml, unchecked.
        overrides: The overrides of the command, of which those with several values are the space.

    Raises:
        SettingsError: a space or settings that cannot work, or a folder that holds something else; nothing was started.
        RunFailed: naming the trials that failed, after all others ended.
    """
    search = validate_section(SearchSettings, settings, "hydra.sweeper.")
    space = space_of(overrides)
    refuse_other_space(search, space)
    log.info("starting  a search of %s", number_of(search.trials, "trial"))
    access = driver_of(start.folder, search.storage, start.is_resumed)
    # A note on several trials is said once.
    with folder_goes_where_refused(start.folder), access as driver, collected_notes():
        start.note_words(idle_search_words(start.invocation.typed_words, search.sampler, search.pruning))
        refuse_other_search(driver, search, space, start.is_resumed)
        launcher_settings, flags = launcher.settings(), launcher.flags()
        if launcher_settings.fail_fast:
            raise SettingsError("hydra.launcher.fail_fast: must be false for a search, got true")
        with start.record():
            outcome = run_search(search, space, driver, launcher_settings, flags, launcher.compose)
        with driver.exclusive_access():
            write_leaderboard(start.folder, with_commands=False)
    log_outcome(outcome, start.invocation.resume_hint)
    if outcome.failed:
        raise RunFailed(
            lines([f"{len(outcome.failed)} of {number_of(outcome.count, 'trial')} failed", *outcome.failed])
        )


def log_outcome(outcome: SearchOutcome, resume_hint: str) -> None:
    """Log the best trials, and how many are left."""
    for line in outcome.best:
        log.info("%s", line)
    if outcome.trials_left:
        number_left, verb = number_of(outcome.trials_left, "trial"), "is" if outcome.trials_left == 1 else "are"
        log.info("search    %s %s left%s", number_left, verb, resume_hint)
