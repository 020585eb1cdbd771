"""Hydra's launchers: the slots of one machine, Slurm, Ray.

Hydra imports this file at every start, so it imports little.
"""

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
from kd_runner.command_line.job_composer import JOB_COMPOSER
from kd_runner.command_line.overrides import expand_modes
from kd_runner.command_line.sweep_composition import SweepComposer

# Hydra's own settings that are the sweep's and not a job's.
OF_THE_SWEEP = ("hydra.sweep", "hydra.run", "hydra.mode", "hydra.launcher", "hydra/", "hydra.output_subdir")


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that Hydra gives to a plugin, as plain data."""
    plain = OmegaConf.to_container(OmegaConf.create(dict(settings)))
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}


class PoolLauncher(Launcher):
    """Runs each job in a process of its own on a device of its own; see kd_runner.sweeps.grid.

    Args:
        settings: The keys of the launcher's file in conf/hydra/launcher.
    """

    def __init__(self, **settings: Any) -> None:
        self.unchecked = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.loader = config, hydra_context.config_loader
        self.composer = SweepComposer(self.loader, config)
        JOB_COMPOSER.begin(self.loader, config.hydra.job.config_name)
        self.invocation = invocation_of(task_function)

    @staticmethod
    def section() -> type[Any]:
        """The settings that the launcher has."""
        from kd_runner.sweeps.engines.machine import PoolSettings

        return PoolSettings

    def settings(self) -> Any:
        """The launcher's settings, checked.

        Raises:
            SettingsError: a setting that does not exist, or a value that cannot work.
        """
        from kd_runner.config.validation import validate_section

        return validate_section(self.section(), plain_settings(self.unchecked), "hydra.launcher.")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs; a failed one's return value raises RunFailed, another's is its result."""
        from kd_runner.sweeps.checks import compose_jobs
        from kd_runner.sweeps.early_end import failure_of
        from kd_runner.sweeps.engines.fork_server import ForkServer
        from kd_runner.sweeps.grid import run_grid

        folder = Path(self.config.hydra.sweep.dir).absolute()
        settings = self.settings()
        ForkServer()  # which imports while the jobs are composed
        jobs = compose_jobs(job_overrides, folder, self.compose, initial_job_idx)
        outcomes = run_grid(jobs, folder, settings, self.config.get("resume") is not None, self.flags())
        returns = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            value = failure_of(job, outcome) if isinstance(outcome, str) else outcome
            status = JobStatus.FAILED if isinstance(outcome, str) else JobStatus.COMPLETED
            returns.append(JobReturn(job.overrides, None, None, str(job.folder), None, status, value))
        return returns

    def flags(self) -> list[str]:
        """The words that every job's command line has beside its settings."""
        hydra = [
            word for word in self.config.hydra.overrides.hydra if not str(word).lstrip("+").startswith(OF_THE_SWEEP)
        ]
        return [*self.invocation.flags, *hydra]

    def compose(self, number: int, overrides: Sequence[str]) -> tuple[dict[str, Any], str, composition.FromEnvironment]:
        """A job's settings as plain data, its folder's name below the sweep's, and what it takes from the environment.

        Raises:
            SettingsError: they cannot be composed, or are of the wrong kind.
        """
        words = [word for override in overrides for word in expand_modes(override)]  # as the job itself does
        config = composition.composed_by(lambda: self.composer.compose(words))
        unresolved = composition.unresolved_settings(config)
        settings = composition.settings_of(config, overrides, unresolved)
        with open_dict(config):
            config.hydra.job.num = number
            config.hydra.job.id = str(number)
        plain = settings.plain()
        return plain, str(config.hydra.sweep.subdir), composition.from_environment(config, plain, unresolved)


class SlurmLauncher(PoolLauncher):
    """Hands each job to Slurm; see kd_runner.sweeps.engines.slurm."""

    @staticmethod
    def section() -> type[Any]:
        """The settings that the launcher has."""
        from kd_runner.sweeps.engines.slurm import SlurmSettings

        return SlurmSettings


class RayLauncher(PoolLauncher):
    """Runs each job in a process on a machine of a Ray cluster; see kd_runner.sweeps.engines.ray_cluster."""

    @staticmethod
    def section() -> type[Any]:
        """The settings that the launcher has."""
        from kd_runner.sweeps.engines.ray_cluster import RaySettings

        return RaySettings
