"""The folder where a run writes TensorBoard's event files, and the command that shows them: without TensorBoard."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path

from kd_runner.files import tolerant_json
from kd_runner.files.links import EVENT_FILES
from kd_runner.files.links import TABLE as TABLE
from kd_runner.files.plain_files import is_file_name
from kd_runner.files.run_folder import EVENTS as FOLDER
from kd_runner.files.run_folder import GRID, NETWORKS


def event_folder_of(run: Path) -> Path:
    """The folder of a run's event files; TensorBoard's legends show its name.

    It is in the run's folder. The jobs of a sweep have theirs side by side in the sweep's folder, by their names.
    """
    run = run.absolute()
    for sweep in run.parents:
        grid = sweep / GRID
        if not grid.is_file():
            continue
        about, relative = grid.stat(), str(run.relative_to(sweep))
        names = _names_of_jobs(grid, about.st_ino, about.st_mtime_ns, about.st_size)
        if names is None:
            continue
        if relative in names:
            return sweep / FOLDER / names[relative]
        if run.parent == sweep / NETWORKS:
            return sweep / FOLDER / run.name
    return run / FOLDER


def is_of_a_sweep(run: Path) -> bool:
    """True for the folder of a job of a sweep, or of a network trained for several of them."""
    return event_folder_of(run).parent != run.absolute()


def jobs_beside(run: Path) -> int:
    """The number of jobs of the sweep that a run is a job of; 1 for a run by itself."""
    events = event_folder_of(run)
    if events.parent == run.absolute():
        return 1
    grid = events.parent.parent / GRID
    about = grid.stat()
    return len(_names_of_jobs(grid, about.st_ino, about.st_mtime_ns, about.st_size) or "-")


@functools.lru_cache(maxsize=8)  # a report of a sweep asks for each of its jobs
def _names_of_jobs(grid: Path, *_: int) -> dict[str, str] | None:
    """The names of a sweep's jobs by their folders, from a file that is read again when it changes; None for no sweep.

    Args:
        grid: The sweep's file.
        _: Numbers that change with the file, so that a changed file is read again.
    """
    content, _wrong = tolerant_json.json_of(grid)
    if not content:
        return None
    folders, jobs = (tolerant_json.texts(content.get(name)) for name in ("folders", "names"))
    return {job: name for job, name in zip(folders, jobs, strict=False) if is_file_name(name)}


def command(folder: Path) -> str:
    """The command that shows the charts below a folder."""
    return shlex.join(["tensorboard", "--logdir", str(folder)])


def in_folder(folder: Path) -> list[Path]:
    """The event files in a folder, the earliest first; links lead elsewhere, and are none."""
    return sorted(path for path in folder.glob(f"{EVENT_FILES}*") if path.is_file() and not path.is_symlink())
