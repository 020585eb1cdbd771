"""Hydra's sweepers: a grid, and a search with Optuna.

Hydra imports this file at every start, so it imports little.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from kd_runner.command_line.invocation import invocation_of

if TYPE_CHECKING:
    from kd_runner.command_line.sweep_start import SweepStart

LAUNCHERS = [f"hydra_plugins.kd_runner.launchers.{name}" for name in ("PoolLauncher", "SlurmLauncher", "RayLauncher")]


class GridSweeper(Sweeper):
    """All combinations of the swept values: refused as a whole or run to the end, whatever happens to some of them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.config, self.loader = config, hydra_context.config_loader
        self.invocation = invocation_of(task_function)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep, as `run_grid_command` says."""
        from kd_runner.sweeps.grid_command import run_grid_command

        assert self.launcher is not None
        launcher, combinations = self.launcher, BasicSweeper.split_arguments(self.parse_overrides(arguments), None)[0]
        return run_grid_command(self.start(), combinations, lambda: launcher.launch(combinations, 0))

    def start(self) -> SweepStart:
        """The start of the sweep."""
        from kd_runner.command_line.sweep_start import SweepStart

        assert self.config is not None
        return SweepStart(self.config, self.invocation)

    def parse_overrides(self, arguments: Sequence[str]) -> list[Override]:
        """The overrides of the jobs among the words of the command line."""
        words = [word for word in arguments if not word.startswith("resume=")]
        return OverridesParser.create(config_loader=self.loader).parse_overrides(words)


class OptunaSweeper(GridSweeper):
    """Runs trials that Optuna chooses from the swept values, by the results of the trials before.

    See `kd_runner.sweeps.search.study`.

    Args:
        settings: The keys of conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(self, **settings: Any) -> None:
        self.unchecked = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from kd_runner.errors import SettingsError

        if config.hydra.launcher._target_ not in LAUNCHERS:
            chosen = config.hydra.runtime.choices.get("hydra/launcher")
            raise SettingsError(f"hydra/launcher: must be pool, slurm or ray for a search, got {chosen}")
        if find_spec("optuna") is None:
            raise SettingsError("hydra/sweeper: optuna is not installed: pip install optuna")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the search, as `run_search_command` says."""
        from hydra_plugins.kd_runner.launchers import PoolLauncher, plain_settings
        from kd_runner.sweeps.search.command import run_search_command

        assert isinstance(self.launcher, PoolLauncher)
        settings = plain_settings(self.unchecked)
        run_search_command(self.start(), settings, self.parse_overrides(arguments), self.launcher)
