"""Hydra's sweeper for a grid. Imported by Hydra at every start, so it imports little itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def leaderboard(folder: Path) -> None:
    """Write and print the sweep's leaderboard; what keeps it from that is said, and costs no result."""
    from kd_runner.leaderboard import report

    try:
        log.info("%s", report([folder], folder))
    except Exception as error:  # a table must not take the sweep with it
        log.warning("note      the leaderboard could not be written: %s", error)


class GridSweeper(Sweeper):
    """All combinations of the swept values: refused as a whole or run to the end, whatever happens to some of them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.config, self.loader = config, hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep.

        Raises:
            SettingsError: a job that cannot work, or a folder that holds another sweep; nothing was started.
            RunFailed: naming the jobs that have no result, after all others ended.
        """
        from kd_runner import cli
        from kd_runner.config import RunFailed, SettingsError
        from kd_runner.grid import refuse_other_grid

        assert self.config is not None
        assert self.launcher is not None
        folder = Path(self.config.hydra.sweep.dir).absolute()
        words = [word for word in arguments if not word.startswith("resume=")]
        parsed = OverridesParser.create(config_loader=self.loader).parse_overrides(words)
        combinations = BasicSweeper.split_arguments(parsed, None)[0]
        refuse_other_grid(folder, combinations, resumed=self.config.get("resume") is not None)
        record = folder / "multirun.yaml"
        is_new = not record.exists()
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, record)
        cli.resume_hint = f"; to go on: kd-runner resume={folder}"
        try:
            returns = self.launcher.launch(combinations, 0)
        except SettingsError:
            if is_new:  # nothing was started, so there is nothing to go on with
                record.unlink()
            raise
        leaderboard(folder)
        failed = [str(each._return_value) for each in returns if isinstance(each._return_value, Exception)]
        if failed:
            raise RunFailed(
                "\n".join([f"{len(failed)} of {len(returns)} jobs have no result{cli.resume_hint}", *failed])
            )
        return returns
