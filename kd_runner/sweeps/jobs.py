"""The jobs of a sweep and the tasks that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_runner.files import atomic
from kd_runner.files.run_folder import CHECKED, NETWORKS
from kd_runner.sweeps.engines.task import Task


@dataclass(frozen=True)
class Job:
    """One combination of a sweep: the overrides that it differs by, those that it shares, and its plain settings.

    Args:
        variables: The environment variables that its settings come from.
    """

    number: int
    own: list[str]
    shared: list[str]
    settings: dict[str, Any]
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"#{self.number}"

    def __str__(self) -> str:
        return f"{self.name} ({' '.join(self.own) or 'no overrides'})"


def earlier_result(job: Job) -> dict[str, Any] | None:
    """The result of a job that was completed before."""
    result = atomic.read_json(job.folder / "result.json")
    return result if result.get("status") == "completed" else None


def networks_first(found: Mapping[str, Any], folder: Path, variables: Mapping[str, str]) -> dict[str, Task]:
    """Tasks that train, each once, the networks that several jobs need, by the networks' keys."""
    tasks = {}
    for key, network in found.items():
        if len(network["jobs"]) > 1:
            place = folder / NETWORKS / f"{network['stage']}_{key}"
            words = [str(folder / CHECKED / "jobs.json"), network["jobs"][0], network["stage"], str(place)]
            serves = frozenset(int(job) for job in network["jobs"])
            name = f"{network['stage']} {key}"
            call = "kd_runner.sweeps.preflight:prepare"
            tasks[key] = Task(name, place, words, words, call=call, serves=serves, variables=variables)
    return tasks


def task_of(job: Job, prepared: Mapping[str, Task], flags: Sequence[str]) -> Task:
    """The job as a command of its own."""
    words = [*flags, *job.shared, *job.own]
    place = str(job.folder).replace("\\", "\\\\").replace('"', '\\"')
    after = [task for task in prepared.values() if job.number in task.serves]
    first, again = [*words, f'hydra.run.dir="{place}"'], [*words, f'resume="{place}"']
    return Task(job.name, job.folder, first, again, after=after, variables=job.variables)
