"""The folder of a sweep: what it records, and who may use it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kd_runner.command_line.overrides import UNDECISIVE, split
from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.run_folder import EARLIER, GRID
from kd_runner.sweeps.jobs import Job

LOCK = ".sweep.lock"
LONGEST_NAME = 80
# What stands for a key before its value in the name of a job.
SHORT = {"distillation": "", "temperature.value": "T", "seed": "s", "data_seed": "d"}


def refuse_other_grid(folder: Path, combinations: Sequence[Sequence[str]], resumed: bool) -> None:
    """Raise SettingsError where the folder holds a sweep of other jobs."""
    path = folder / GRID
    jobs = [decisive(" ".join(sorted(words))) for words in combinations]
    try:
        earlier = [decisive(words) for words in json.loads(path.read_text())["jobs"]]
    except FileNotFoundError:
        earlier = jobs
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} cannot be read ({error})") from error
    if earlier != jobs:
        key = "resume" if resumed else "hydra.sweep.dir"
        new, gone = sorted(set(jobs) - set(earlier)), sorted(set(earlier) - set(jobs))
        what = (
            f"it has no job '{new[0]}'" if new else f"it has also '{gone[0]}'" if gone else "they are in another order"
        )
        raise SettingsError(
            f"{key}: {folder} holds another sweep, of {len(earlier)} jobs, this one has {len(jobs)}: {what}"
        )


def decisive(words: str) -> str:
    """Overrides without those that do not say what is run."""
    return " ".join(word for word in split(words) if not word.startswith(UNDECISIVE))


def write_grid(jobs: Sequence[Job], folder: Path, digits: int = 1) -> None:
    """Write down which jobs the folder holds, where, and what charts call them.

    Args:
        digits: Of their numbers there, so that names sort as numbers do.
    """
    content = {
        "jobs": [" ".join(sorted([*job.shared, *job.own])) for job in jobs],
        "folders": [str(job.folder.relative_to(folder)) for job in jobs],
        "names": [legend(job.number, job.own, digits) for job in jobs],
    }
    atomic.write_json(folder / GRID, content)


def legend(number: int, words: Sequence[str], digits: int = 1) -> str:
    """What a chart calls a job, and a folder can be called: 3_dkd_T4_s0."""
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    parts = [f"{number:0{digits}d}"]
    for key, word in zip(keys, words, strict=True):
        last = key.rpartition(".")[2]
        called = SHORT.get(key, f"{last if lasts[last] == 1 else key}=")
        parts.append(called + word.partition("=")[2])
    name = re.sub(r"[^\w.,=+-]+", "-", re.sub(r"[][(){}\s'\"]", "", "_".join(parts)))
    return name[:LONGEST_NAME].rstrip("-._")


@contextmanager
def emptied_job_folders(jobs: Sequence[Job], folder: Path) -> Iterator[None]:
    """The jobs' folders are empty in this block; what an earlier sweep left there comes back where this is refused."""
    aside = folder / EARLIER
    moved = [(job.folder, aside / str(job.number)) for job in jobs if job.folder.exists()]
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for place, kept in moved:
        place.rename(kept)
    try:
        yield
    except SettingsError:
        for place, kept in moved:
            shutil.rmtree(place, ignore_errors=True)
            kept.rename(place)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """No other process runs the sweep in this folder.

    Raises:
        SettingsError: another one does, or its name cannot be said in Hydra's words.
    """
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"hydra.sweep.dir: must have no quotes and backslashes in its path, got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise SettingsError(f"hydra.sweep.dir: another process runs the sweep in {folder}") from None
    try:
        yield
    finally:
        lock.release()
