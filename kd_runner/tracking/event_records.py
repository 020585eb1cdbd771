"""The records in TensorBoard's event files: read, written and removed."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from kd_runner.files import atomic


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
