"""Hydra's launcher for the slots of one machine. Imported by Hydra at every start, so it imports little itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from kd_runner.grid import Options

# Hydra's own settings that are the sweep's and not a job's.
OF_THE_SWEEP = ("hydra.sweep", "hydra.run", "hydra.mode", "hydra.launcher", "hydra/", "hydra.output_subdir")


class PoolLauncher(Launcher):
    """Each job is a process of its own on a device of its own; see kd_runner.grid.

    Args:
        options: The keys of conf/hydra/launcher/pool.yaml.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.loader = config, hydra_context.config_loader

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs; a failed one's return value raises RunFailed, another's is its result."""
        from kd_runner.config import RunFailed
        from kd_runner.grid import composed, run_grid

        folder = Path(self.config.hydra.sweep.dir).absolute()
        options = self.typed_options()
        jobs = composed(job_overrides, folder, self.compose, initial_job_idx)
        outcomes = run_grid(jobs, folder, options, self.config.get("resume") is not None, self.flags())
        returns = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            failed = isinstance(outcome, str)
            value = RunFailed(f"{job}: {outcome}") if failed else outcome
            status = JobStatus.FAILED if failed else JobStatus.COMPLETED
            returns.append(JobReturn([*job.shared, *job.own], None, None, str(job.folder), None, status, value))
        return returns

    def typed_options(self) -> Options:
        """The options, checked.

        Raises:
            SettingsError: one that does not exist, or a value that cannot work.
        """
        from kd_runner.grid import Options

        plain = OmegaConf.to_container(OmegaConf.create(self.options))
        assert isinstance(plain, dict)
        return Options.of({str(name): value for name, value in plain.items()})

    def flags(self) -> list[str]:
        """What every job's command line has beside its settings."""
        from kd_runner import cli

        hydra = [word for word in self.config.hydra.overrides.hydra if not str(word).startswith(OF_THE_SWEEP)]
        return [*cli.flags, *hydra]

    def compose(self, number: int, words: Sequence[str]) -> tuple[dict[str, Any], str]:
        """A job's settings as plain data, and the name of its folder below the sweep's.

        Raises:
            SettingsError: they cannot be composed, or are of the wrong kind.
        """
        from kd_runner import cli

        config = cli.composed_by(lambda: self.loader.load_sweep_config(self.config, list(words)))
        settings = cli.settings_of(config, words)
        with open_dict(config):
            config.hydra.job.num = number
            config.hydra.job.id = str(number)
        return settings, str(config.hydra.sweep.subdir)
