"""Hydra's sweeper for a search with Optuna. Imported by Hydra at every start, so it imports little itself."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.kd_runner.grid_sweeper import GridSweeper, leaderboard

log = logging.getLogger(__name__)

POOL = "hydra_plugins.kd_runner.pool_launcher.PoolLauncher"


class OptunaSweeper(GridSweeper):
    """Trials that Optuna chooses from the swept values, each by what those before it came to; see kd_runner.search.

    Args:
        options: The keys of conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from kd_runner.config import SettingsError

        if config.hydra.launcher._target_ != POOL:
            chosen = config.hydra.runtime.choices.get("hydra/launcher")
            raise SettingsError(f"hydra/launcher: must be pool for a search, got {chosen}")
        if find_spec("optuna") is None:
            raise SettingsError("hydra/sweeper: optuna is not installed: pip install 'kd-runner[optuna]'")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the search.

        Raises:
            SettingsError: a space or settings that cannot work, or a folder that holds something else; nothing was
                started.
            RunFailed: naming the trials that failed, after all others ended.
        """
        from hydra_plugins.kd_runner.pool_launcher import PoolLauncher
        from kd_runner import cli
        from kd_runner.config import RunFailed
        from kd_runner.notes import collected_notes, note
        from kd_runner.search import Search, alone, refuse_other_search
        from kd_runner.space import space_of
        from kd_runner.trials import run_search
        from kd_runner.typed_words import idle_search_words

        assert isinstance(self.launcher, PoolLauncher)
        plain = OmegaConf.to_container(OmegaConf.create(self.options))
        assert isinstance(plain, dict)
        search = Search.of({str(name): value for name, value in plain.items()})
        space = space_of(self.parsed(arguments))
        with alone(self.folder), collected_notes():  # what is said of several trials is said once
            cli.note_idle_words(sweep=True)
            for line in idle_search_words(cli.typed, search.sampler, search.pruning):
                note("settings", line)
            refuse_other_search(self.folder, search, space, self.resumed)
            options, flags = self.launcher.typed_options(), self.launcher.flags()
            with self.recorded():
                found = run_search(search, space, self.folder, options, flags, self.launcher.compose)
            leaderboard(self.folder)
        for line in found.best:
            log.info("%s", line)
        if found.failed:
            raise RunFailed("\n".join([f"{len(found.failed)} of {found.count} trials failed", *found.failed]))
