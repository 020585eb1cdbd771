"""metrics.csv: a row for each epoch of each stage, with all metrics of the run as columns.

Lightning's CSVLogger deletes the file of an earlier attempt, so that a run that goes on would lose its first epochs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from kd_runner.files import atomic
from kd_runner.files.run_folder import METRICS

KEYS = ("stage", "epoch")


class CsvMetrics:
    """The table of a run; one that is there is gone on with."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self.rows: dict[tuple[str, int], dict[str, str]] = {}
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    stage, epoch = (row.pop(key) for key in KEYS)
                    self.rows[stage, int(epoch)] = {name: value for name, value in row.items() if name and value}

    def remove_after(self, stage: str, epoch: int) -> None:
        """Remove what a stage logged after that epoch, which it trains again."""
        self.rows = {key: row for key, row in self.rows.items() if key[0] != stage or key[1] <= epoch}

    def add(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of an epoch, and write the file: a process that is killed leaves a whole one."""
        row = self.rows.setdefault((stage, epoch), {})
        row |= {name: repr(float(value)) for name, value in metrics.items()}
        names = dict.fromkeys(name for row in self.rows.values() for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, [*KEYS, *names], lineterminator="\n")
        writer.writeheader()
        for (of_stage, number), values in self.rows.items():
            writer.writerow({"stage": of_stage, "epoch": number, **values})
        atomic.write(self.path, text.getvalue().encode(), survives_power_cut=False)
