"""TensorBoard's event files: the folder where a run writes them, and the removal of records from them."""

from __future__ import annotations

import functools
import io
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from kd_runner.files import atomic, reading
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
        _: What changes with the file.
    """
    content, _wrong = reading.json_of(grid)
    if not content:
        return None
    folders, jobs = (reading.texts(content.get(name)) for name in ("folders", "names"))
    return {job: name for job, name in zip(folders, jobs, strict=False) if is_file_name(name)}


def command(folder: Path) -> str:
    """The command that shows the charts below a folder."""
    return shlex.join(["tensorboard", "--logdir", str(folder)])


def in_folder(folder: Path) -> list[Path]:
    """The event files in a folder, the earliest first; links lead elsewhere, and are none."""
    return sorted(path for path in folder.glob("events.out.tfevents.*") if path.is_file() and not path.is_symlink())


def points_in(files: Iterable[Path]) -> set[tuple[str, int]]:
    """The tags and steps of all records in event files; a process may still write to them."""
    events = (Event.FromString(record) for path in files for record in RawEventFileLoader(str(path)).Load())
    return {(value.tag, event.step) for event in events for value in event.summary.value}


def write_scalars(path: Path, scalars: Iterable[tuple[str, float, int]]) -> None:
    """Write an event file of its own with these tags, values and steps."""
    now = time.time()
    summaries = ((Summary(value=[Summary.Value(tag=tag, simple_value=value)]), step) for tag, value, step in scalars)
    write(path, (Event(summary=summary, step=step, wall_time=now) for summary, step in summaries))


def write(path: Path, events: Iterable[Event]) -> None:
    """Write an event file; it replaces one that is there, where it differs."""
    content = io.BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(file_version="brain.Event:2").SerializeToString())
    for event in events:
        writer.write(event.SerializeToString())
    if not (path.is_file() and not path.is_symlink() and path.read_bytes() == content.getvalue()):
        atomic.write(path, content.getvalue(), survives_power_cut=False)  # it can be written again


def remove_records(files: Iterable[Path], is_outdated: Callable[[str, int], bool]) -> None:
    """Remove the records for whose tag and step `is_outdated` is true, and one that a killed process did not finish."""
    for path in files:
        content = io.BytesIO()
        writer = RecordWriter(content)
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            if not any(is_outdated(value.tag, event.step) for value in event.summary.value):
                writer.write(record)
        atomic.write(path, content.getvalue())
