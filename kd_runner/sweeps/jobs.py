"""The jobs of a sweep and the tasks that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_runner.command_line.quoted_values import quoted_text
from kd_runner.files import atomic
from kd_runner.files.contents import is_link
from kd_runner.files.run_folder import CHECKED, NETWORKS, RESULT
from kd_runner.files.scores import with_scores
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.network_names import network_names
from kd_runner.typed_files import typed_variable

WITHOUT_RECORD = "hydra.output_subdir=null"  # our own files say the same as Hydra's record of a command


@dataclass(frozen=True)
class Job:
    """One combination of a sweep.

    Args:
        varying: The overrides that it does not share with all jobs.
        shared: The overrides that all jobs have.
        settings: All settings of the job, as plain data.
        variables: The environment variables that its settings come from.
        expressions: Expressions that Hydra resolves to the settings that come from them, by their keys.
    """

    number: int
    varying: list[str]
    shared: list[str]
    settings: dict[str, Any]
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    expressions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"#{self.number}"

    @property
    def overrides(self) -> list[str]:
        return [*self.shared, *self.varying]

    def __str__(self) -> str:
        return f"{self.name} ({' '.join(self.varying) or 'no overrides'})"


def completed_result(job: Job) -> dict[str, Any] | None:
    """The result of a job that has completed."""
    result = with_scores(atomic.read_json(job.folder / RESULT))
    return result if result.get("status") == "completed" else None


def write_end(job: Job, status: str, reason: str) -> None:
    """Record in a job's folder how the job ended, where the job itself could not."""
    path = job.folder / RESULT
    job.folder.mkdir(parents=True, exist_ok=True)
    result = {"overrides": job.overrides, **atomic.read_json(path)}
    atomic.write_json(path, {**result, "status": status, "error": reason})


def has_stop_record(job: Job) -> bool:
    """True where the folder of a job holds the record that it was stopped before it started, and nothing else."""
    if is_link(job.folder) or not job.folder.is_dir() or [path.name for path in job.folder.iterdir()] != [RESULT]:
        return False
    return atomic.read_json(job.folder / RESULT).get("status") == "stopped"


def training_tasks(
    missing: Mapping[str, Mapping[str, Any]], jobs: Sequence[Job], folder: Path, variables: Mapping[str, str]
) -> dict[str, Task]:
    """Tasks that train, each once, the networks that several jobs need, by the networks' keys.

    Args:
        missing: The networks that the store does not have, as `kd_runner.sweeps.preflight.examine` writes them.
        jobs: The jobs that may need them.
    """
    shared = {key: network for key, network in missing.items() if len(network["jobs"]) > 1}
    names = network_names(shared, {str(job.number): job.varying for job in jobs})
    tasks: dict[str, Task] = {}
    handed_on = {**variables, **typed_variable()}
    for key, network in shared.items():
        stage, numbers = network["stage"], network["jobs"]
        log_folder = folder / NETWORKS / f"{stage}_{key}"
        words = [str(folder / CHECKED / "jobs.json"), numbers[0], stage, str(log_folder)]
        serves = frozenset(int(number) for number in numbers)
        call = "kd_runner.sweeps.preflight:prepare"
        tasks[key] = Task(names[key], log_folder, words, words, call=call, serves=serves, variables=handed_on)
    return tasks


def task_of(job: Job, training: Mapping[str, Task], flags: Sequence[str]) -> Task:
    """The job as a command of its own, which waits for the training tasks that serve it."""
    words = [*flags, *job.overrides]
    folder = quoted_text(str(job.folder))
    needed = [task for task in training.values() if job.number in task.serves]
    first, again = [*words, f"hydra.run.dir={folder}", WITHOUT_RECORD], [*words, f"resume={folder}"]
    return Task(job.name, job.folder, first, again, after=needed, variables={**job.variables, **typed_variable()})
