"""Every job of a sweep is composed and tried before any starts."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.command_line.unused_in_sweep import OVERRIDES
from kd_runner.config.fingerprint import digest
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic, run_folder
from kd_runner.files.run_folder import CHECKED, CONSOLE
from kd_runner.sweeps.engine import Engine
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.pool import Pool
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.jobs import Job

SHOWN = 20  # jobs that are named one by one when they are refused


def refuse_other_folders(jobs: Sequence[Job]) -> None:
    """Raise SettingsError where the folder of a job holds something, and no run of ours."""
    for job in jobs:
        filled = job.folder.is_dir() and any(job.folder.iterdir())
        if filled and not run_folder.holds_a_run(job.folder) and not (job.folder / CONSOLE).exists():
            raise SettingsError(f"hydra.sweep.dir: {job.folder} holds something that is no run of kd-runner")


def examine_jobs(jobs: Sequence[Job], folder: Path, nursery: ForkServer, engine: Engine) -> dict[str, Any]:
    """What `kd_runner.sweeps.preflight.examine` finds of the jobs, in a process of its own.

    Raises:
        SettingsError: one line for each job that cannot work.
    """
    place = folder / CHECKED
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    place.chmod(0o700)  # settings may come from the environment
    asked, answer = place / "jobs.json", place / "found.json"
    atomic.write_json(asked, {job.number: job.settings for job in jobs})
    atomic.write_json(place / OVERRIDES, {job.number: [*job.shared, *job.own] for job in jobs})
    words = [str(asked), str(answer), *(["elsewhere"] if engine.elsewhere else [])]
    task = Task("check", place, words, [], call="kd_runner.sweeps.preflight:examine")
    pool = Pool(nursery, [engine.examiner], engine.threads, None, 1.0, 0, lambda *_: None, lambda _: None)
    pool.run([task])
    if task.code != 0:
        last = (place / CONSOLE).read_text().strip().splitlines()[-1:]
        raise RunFailed(f"the jobs could not be checked (exit code {task.code}): {' '.join(last)}")
    found = json.loads(answer.read_text())
    wrong = [(job, found["errors"][str(job.number)]) for job in jobs if str(job.number) in found["errors"]]
    raise_if_any([f"{job}: {message}" for job, message in wrong])
    return found


def raise_if_any(lines: Sequence[str]) -> None:
    """Raise SettingsError with the lines, where there are any."""
    if lines:
        more = [f"and {len(lines) - SHOWN} more jobs cannot work"] if len(lines) > SHOWN else []
        raise SettingsError("\n".join([*(f"job {line}" for line in lines[:SHOWN]), *more]))


# A job's settings, its folder's name, and the environment variables that it depends on.
Compose = Callable[[int, Sequence[str]], tuple[dict[str, Any], str, Mapping[str, str]]]


def compose_jobs(combinations: Sequence[Sequence[str]], folder: Path, compose: Compose, first: int = 0) -> list[Job]:
    """The jobs of a sweep, each with its settings, whose kinds and ranges have been checked.

    Raises:
        SettingsError: a line for each job that cannot be composed.
    """
    jobs, wrong = [], []
    counts = Counter(word for words in combinations for word in set(words))
    varying = {word for word, count in counts.items() if count < len(combinations)}
    earlier: dict[str, int] = {}
    for number, words in enumerate(combinations, first):
        own = [word for word in words if word in varying]
        shared = [word for word in words if word not in varying]
        called = f"#{number} ({' '.join(own) or ' '.join(words)})"
        try:
            settings, name, variables = compose(number, words)
        except SettingsError as error:
            wrong.append(f"{called}: {str(error).splitlines()[0]}")
            continue
        jobs.append(Job(number, own, shared, settings, folder / name, variables))
        same = earlier.setdefault(digest(settings), number)
        if same != number:
            wrong.append(f"{called}: must have other settings than job #{same}: give each value once")
    raise_if_any(wrong)
    refuse_common_folders(jobs, folder)
    return jobs


def refuse_common_folders(jobs: Sequence[Job], folder: Path) -> None:
    """Raise SettingsError where jobs do not have a folder of their own each, below `folder`."""
    places = [job.folder.resolve() for job in jobs]
    if len(set(places)) < len(places) or not all(folder.resolve() in place.parents for place in places):
        raise SettingsError("hydra.sweep.subdir: must give each job a folder of its own below hydra.sweep.dir")
