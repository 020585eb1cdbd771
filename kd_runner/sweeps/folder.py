"""The folder of a sweep: what it records, and who may use it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout

from kd_runner.command_line.begun_folder import begun_in, placed_word
from kd_runner.command_line.overrides import is_undecisive, split
from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.folder_checks import refuse_other_contents
from kd_runner.files.locks import lock_at_once, lock_of
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import CHECKED, EARLIER, GRID, LOCK, QUEUED, SLURM
from kd_runner.formats import number_of
from kd_runner.notes import note
from kd_runner.sweeps.jobs import Job

LONGEST_NAME = 80
# The label of a key before its value in the name of a job.
SHORT = {"distillation": "", "temperature.value": "T", "seed": "s", "data_seed": "d", "fold": "f"}


def refuse_other_grid(folder: Path, combinations: Sequence[Sequence[str]], resumed: bool) -> None:
    """Raise SettingsError where the folder holds a sweep of other jobs."""
    path = folder / GRID
    begun = begun_in(folder).folder if resumed else None
    jobs = [decisive(" ".join(sorted(overrides)), begun) for overrides in combinations]
    try:
        recorded = [decisive(overrides, begun) for overrides in json.loads(read_plain(path))["jobs"]]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read ({error})") from error
    if recorded != jobs:
        key = "resume" if resumed else "hydra.sweep.dir"
        raise SettingsError(
            f"{key}: {folder} holds another sweep, of {number_of(len(recorded), 'job')}, this one has {len(jobs)}: "
            f"{_difference(recorded, jobs)}"
        )


def _difference(recorded: Sequence[str], jobs: Sequence[str]) -> str:
    """The first difference between the jobs of a recorded sweep and those of another, in words."""
    new, missing = sorted(set(jobs) - set(recorded)), sorted(set(recorded) - set(jobs))
    if new:
        return f"it has no job '{new[0]}'"
    return f"it has also '{missing[0]}'" if missing else "they are in another order"


def decisive(overrides: str, begun: Path | None = None) -> str:
    """The overrides, of those in one text, that make a job another one; a setting of speed is among them.

    Args:
        begun: The folder from which relative paths count; None: they stay as they are.
    """
    words = [override for override in split(overrides) if not is_undecisive(override)]
    return " ".join(words if begun is None else sorted(placed_word(word, begun, is_compared=True) for word in words))


def write_grid(jobs: Sequence[Job], folder: Path, digits: int = 1) -> None:
    """Record which jobs the folder holds, where, and their names in charts.

    Args:
        digits: The number of digits of the jobs' numbers in names, so that names sort as numbers do.
    """
    content = {
        "jobs": [" ".join(sorted(job.overrides)) for job in jobs],
        "folders": [str(job.folder.relative_to(folder)) for job in jobs],
        "names": [legend(job.number, job.varying, digits) for job in jobs],
    }
    atomic.write_json(folder / GRID, content)


def legend(number: int, overrides: Sequence[str], digits: int = 1) -> str:
    """The name of a job in charts, which a folder can have, too: 3_dkd_T4_s0."""
    pairs = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    last_parts = Counter(key.rpartition(".")[2] for key, _ in pairs)
    parts = [f"{number:0{digits}d}"]
    for key, value in pairs:
        last_part = key.rpartition(".")[2]
        label = SHORT.get(key, f"{last_part if last_parts[last_part] == 1 else key}=")
        parts.append(label + value)
    name = re.sub(r"[^\w.,=+-]+", "-", re.sub(r"[][(){}\s'\"]", "", "_".join(parts)))
    return name[:LONGEST_NAME].rstrip("-._")


@contextmanager
def emptied_job_folders(jobs: Sequence[Job], folder: Path) -> Iterator[None]:
    """Empty the jobs' folders for this block; where the block raises SettingsError, the earlier results come back."""
    backup = folder / EARLIER
    moves = [(job.folder, backup / str(job.number)) for job in jobs if job.folder.exists()]
    shutil.rmtree(backup, ignore_errors=True)
    backup.mkdir(parents=True)
    for job_folder, saved in moves:
        job_folder.rename(saved)
    try:
        yield
    except SettingsError:
        for job_folder, saved in moves:
            shutil.rmtree(job_folder, ignore_errors=True)
            saved.rename(job_folder)
        raise
    finally:
        shutil.rmtree(backup, ignore_errors=True)


@contextmanager
def exclusive_folder(folder: Path, resumed: bool = False) -> Iterator[None]:
    """Keep other processes from running the sweep in this folder during this block.

    Raises:
        SettingsError: another process runs it, the folder holds something else, or Hydra cannot be given its path.
    """
    refuse_unfit_folder(folder, resumed)
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_of(folder / LOCK)
    try:
        if not lock_at_once(lock):
            note("sweep", f"the file system of {folder} has no locks: start no second sweep there")
    except Timeout:
        raise SettingsError(f"hydra.sweep.dir: another process runs the sweep in {folder}") from None
    try:
        remove_check(folder)
        yield
    finally:
        remove_check(folder)
        lock.release()


def refuse_unfit_folder(folder: Path, resumed: bool = False) -> None:
    """Raise SettingsError where the folder holds something else, or Hydra cannot be given its path."""
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"hydra.sweep.dir: must have no quotes and backslashes in its path, got {folder}")
    refuse_other_contents(folder, resumed)


def remove_check(folder: Path, jobs_ended: bool = False) -> None:
    """Delete the check of a sweep's jobs, which may hold settings from the environment.

    Tasks that wait in Slurm's queue read it when they start: it stays until the sweep is gone on with, and has ended.
    """
    if jobs_ended or not (folder / SLURM / QUEUED).exists():
        shutil.rmtree(folder / CHECKED, ignore_errors=True)
