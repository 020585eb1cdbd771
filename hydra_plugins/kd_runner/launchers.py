"""Hydra's launchers: the slots of one machine, Slurm, Ray. Imported by Hydra at every start, so it imports little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from kd_runner.command_line import composition
from kd_runner.command_line.invocation import invocation_of

# Hydra's own settings that are the sweep's and not a job's.
OF_THE_SWEEP = ("hydra.sweep", "hydra.run", "hydra.mode", "hydra.launcher", "hydra/", "hydra.output_subdir")


class PoolLauncher(Launcher):
    """Each job is a process of its own on a device of its own; see kd_runner.sweeps.grid.

    Args:
        options: The keys of the launcher's file in conf/hydra/launcher.
    """

    def __init__(self, **options: Any) -> None:
        self.given = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.loader = config, hydra_context.config_loader
        self.invocation = invocation_of(task_function)

    def check_settings(self, given: dict[str, Any]) -> Any:
        """The launcher's settings, checked.

        Raises:
            SettingsError: a setting that does not exist, or a value that cannot work.
        """
        from kd_runner.sweeps.engines.machine import PoolSettings

        return PoolSettings.of(given)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs; a failed one's return value raises RunFailed, another's is its result."""
        from kd_runner.errors import RunFailed
        from kd_runner.sweeps.checks import compose_jobs
        from kd_runner.sweeps.grid import run_grid

        folder = Path(self.config.hydra.sweep.dir).absolute()
        options = self.typed_options()
        jobs = compose_jobs(job_overrides, folder, self.compose, initial_job_idx)
        outcomes = run_grid(jobs, folder, options, self.config.get("resume") is not None, self.flags())
        returns = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            failed = isinstance(outcome, str)
            value = RunFailed(f"{job}: {outcome}") if failed else outcome
            status = JobStatus.FAILED if failed else JobStatus.COMPLETED
            returns.append(JobReturn([*job.shared, *job.own], None, None, str(job.folder), None, status, value))
        return returns

    def typed_options(self) -> Any:
        """The options, checked.

        Raises:
            SettingsError: one that does not exist, or a value that cannot work.
        """
        plain = OmegaConf.to_container(OmegaConf.create(self.given))
        assert isinstance(plain, dict)
        return self.check_settings({str(name): value for name, value in plain.items()})

    def flags(self) -> list[str]:
        """What every job's command line has beside its settings."""
        hydra = [word for word in self.config.hydra.overrides.hydra if not str(word).startswith(OF_THE_SWEEP)]
        return [*self.invocation.flags, *hydra]

    def compose(self, number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, Mapping[str, str]]:
        """A job's settings as plain data, the name of its folder below the sweep's, and what it has of the environment.

        Raises:
            SettingsError: they cannot be composed, or are of the wrong kind.
        """

        config = composition.composed_by(lambda: self.loader.load_sweep_config(self.config, list(words)))
        settings = composition.settings_of(config, words)
        with open_dict(config):
            config.hydra.job.num = number
            config.hydra.job.id = str(number)
        return settings.plain(), str(config.hydra.sweep.subdir), composition.variables_of(config)


class SlurmLauncher(PoolLauncher):
    """Each job is one of Slurm's; see kd_runner.sweeps.engines.slurm."""

    def check_settings(self, given: dict[str, Any]) -> Any:
        """The launcher's settings, checked, as in `PoolLauncher`."""
        from kd_runner.config.settings import validate_section
        from kd_runner.sweeps.engines.slurm import SlurmOptions

        return validate_section(SlurmOptions, given, "hydra.launcher.")


class RayLauncher(PoolLauncher):
    """Each job is a process on a machine of a Ray cluster; see kd_runner.sweeps.engines.ray_cluster."""

    def check_settings(self, given: dict[str, Any]) -> Any:
        """The launcher's settings, checked, as in `PoolLauncher`."""
        from kd_runner.config.settings import validate_section
        from kd_runner.sweeps.engines.ray_cluster import RayOptions

        return validate_section(RayOptions, given, "hydra.launcher.")
