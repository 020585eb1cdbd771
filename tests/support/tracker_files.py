"""What trackers have kept on this machine, read without the trackers where that is possible."""

from __future__ import annotations

import csv
import json
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEADER, RECORD = 32768, 7, 7  # bytes of LevelDB's log format, in which Weights & Biases writes


@dataclass
class Kept:
    """A run in a tracker: its numbers by stage and epoch, its final numbers, its settings, and how it ended."""

    name: str
    group: str = ""
    epochs: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    status: str = ""

    def add(self, row: dict[str, Any]) -> None:
        """Add a row of numbers, of which one is the epoch of its stage."""
        stage, epoch = next((key.rpartition("/")[0], row[key]) for key in row if key.endswith("/epoch"))
        values = {key.rpartition("/")[2]: value for key, value in row.items() if not key.endswith("/epoch")}
        before = self.epochs.setdefault((stage, int(epoch)), {})
        assert not before.keys() & values.keys(), f"{stage} {epoch} twice"
        before |= values


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file, as far as it is whole."""
    from wandb.proto import wandb_internal_pb2

    data, position, parts = path.read_bytes(), HEADER, b""
    while position + RECORD <= len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts += data[position + RECORD : position + RECORD + length]
        position += RECORD + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def items(messages: Any) -> dict[str, Any]:
    """The values of a record by their keys."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in messages}


def wandb_runs(root: Path) -> dict[str, Kept]:
    """The runs by their ids; a run that was gone on with has several files."""
    runs: dict[str, Kept] = {}
    for path in sorted(root.glob("wandb/offline-run-*/run-*.wandb")):
        for record in wandb_records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run = runs.setdefault(record.run.run_id, Kept(record.run.display_name, record.run.run_group))
                run.settings |= items(record.run.config.update)
            elif kind == "history":
                row = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                run.add({key: value for key, value in row.items() if not key.startswith("_")})
            elif kind == "summary":
                new = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.summary.update
                }
                run.final |= {key: value for key, value in new.items() if key.startswith("final/")}
                run.status = new.get("status", run.status)
    return runs


def mlflow_runs(root: Path) -> dict[str, Kept]:
    """The runs by their ids."""
    runs = {}
    with sqlite3.connect(root / "mlflow.db") as database:
        for run_id, name, status in database.execute("SELECT run_uuid, name, status FROM runs"):
            run = runs[run_id] = Kept(name, status=status)
            tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", [run_id]))
            run.group = tags.get("sweep", "")
            run.settings = dict(database.execute("SELECT key, value FROM params WHERE run_uuid = ?", [run_id]))
            query = "SELECT key, value, step FROM metrics WHERE run_uuid = ?"
            for key, value, step in database.execute(query, [run_id]):
                stage, _, metric = key.rpartition("/")
                if stage == "final":
                    run.final[key] = value
                else:
                    run.add({f"{stage}/epoch": step, f"{stage}/{metric}": value})
    return runs


def trackio_runs(root: Path) -> dict[str, Kept]:
    """The runs by their ids."""
    runs: dict[str, Kept] = {}
    with sqlite3.connect(root / "trackio" / "kd-runner.db") as database:
        for run_id, name, text in database.execute("SELECT run_id, run_name, metrics FROM metrics ORDER BY id"):
            run, row = runs.setdefault(run_id, Kept(name)), json.loads(text)
            if any(key.startswith("final/") for key in row):
                run.final |= row
            else:
                run.add(row)
        for run_id, text in database.execute("SELECT run_id, config FROM configs"):
            runs[run_id].settings = json.loads(text)
            runs[run_id].group = runs[run_id].settings["_Group"] or ""
    return runs


def table(folder: Path) -> dict[tuple[str, int], dict[str, float]]:
    """metrics.csv: the numbers by stage and epoch."""
    rows = {}
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            stage, epoch = row.pop("stage"), int(row.pop("epoch"))
            assert (stage, epoch) not in rows
            rows[stage, epoch] = {name: float(value) for name, value in row.items() if value}
    return rows
