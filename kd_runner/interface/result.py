"""The result of a run, as `kd_runner.run` returns it: numbers by name, the folder, and what a notebook shows."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.charts.figure import Figure
from kd_runner.charts.png import png
from kd_runner.charts.run_charts import PICTURES
from kd_runner.comparison.gap import gap_in
from kd_runner.deploy.predictor import Predictor, load
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import PAGE
from kd_runner.reports.run_page import Folder, read_folder
from kd_runner.reports.summary import sentences, table, table_columns


@dataclass(frozen=True)
class StageResult:
    """One network of a run: teacher, baseline or student, on the test images.

    Args:
        numbers: All that result.json has of it, such as `ece`, `f1`, `macs` and `latency`.
    """

    numbers: Mapping[str, Any]

    @property
    def accuracy(self) -> float:
        """Share of the test images whose class it predicts, 0 to 1; mAP where an image may have several labels."""
        return float(self.numbers["accuracy"])

    @property
    def parameters(self) -> int | None:
        """Number of its parameters."""
        return self.numbers.get("parameters")

    def __getitem__(self, name: str) -> Any:
        return self.numbers[name]


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Args:
        folder: The folder of the run, with its networks, settings, report and TensorBoard's event files.
        numbers: The content of result.json.
    """

    folder: Path
    numbers: Mapping[str, Any]

    @staticmethod
    def of(folder: str | Path) -> RunResult:
        """The result of the run in a folder, whoever started it.

        Raises:
            SettingsError: the run has no result.
        """
        run = read_folder(with_home(folder)).run
        return RunResult(run.folder, run.result)

    @property
    def teacher(self) -> StageResult | None:
        """The teacher; of several, their mean."""
        return self._stage("teacher")

    @property
    def baseline(self) -> StageResult | None:
        """The student's network, trained on labels alone; None for a run without it."""
        return self._stage("baseline")

    @property
    def student(self) -> StageResult:
        """The distilled student after its last epoch."""
        return StageResult(self.numbers["student"])

    @property
    def gain(self) -> float | None:
        """The student's accuracy (or mAP) less its baseline's; None without a baseline."""
        return None if self.baseline is None else self.student.accuracy - self.baseline.accuracy

    @property
    def gap_closed(self) -> float | None:
        """The gain as a share of what the teacher has over the baseline; None without a gain, or without such a gap."""
        gap = gap_in(self.numbers)
        return None if gap is None else gap.share

    @property
    def notes(self) -> Sequence[str]:
        """A sentence on each thing that was converted, left out, chosen or replaced."""
        return list(self.numbers.get("notes") or [])

    @property
    def report(self) -> Path:
        """The page of the run."""
        return self.folder / PAGE

    def predictor(self, trust: Sequence[str] = ()) -> Predictor:
        """The student after its last epoch, which predicts pictures and arrays; see `kd_runner.load`."""
        return load(self.folder, trust)

    def _stage(self, name: str) -> StageResult | None:
        numbers = self.numbers.get(name)
        return StageResult(numbers) if numbers else None

    def __str__(self) -> str:
        return table(self.numbers, read_folder(self.folder).finetune_epochs if self.folder.is_dir() else 0)

    def _repr_html_(self) -> str:
        """The table and the pictures of the run, as a notebook shows them."""
        folder = read_folder(self.folder)
        rows = _rows(self.numbers)
        paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in sentences(self.numbers, folder.finetune_epochs))
        page = html.escape(str(self.report))
        return f"<div>{rows}{paragraphs}{''.join(_pictures(folder))}<p><code>{page}</code></p></div>"


def _rows(numbers: Mapping[str, Any]) -> str:
    """The terminal's table as a table of HTML."""
    stages, *columns = table_columns(numbers)
    head = "".join(f"<th>{html.escape(column.heading)}</th>" for column in columns)
    rows = []
    for row, stage in enumerate(stages.cells):
        cells = "".join(f"<td style='text-align: right'>{html.escape(column.cells[row])}</td>" for column in columns)
        rows.append(f"<tr><th style='text-align: left'>{html.escape(stage)}</th>{cells}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _pictures(folder: Folder) -> Iterator[str]:
    """Each figure of the run's page as an image with its caption: what a notebook's page has does not change them."""
    for name, (title, _) in PICTURES.items():
        figure = folder.charts.get(name)
        if isinstance(figure, Figure):
            image = base64.b64encode(png(figure.as_one_chart())).decode()
            caption = html.escape(figure.caption)
            source = f"data:image/png;base64,{image}"
            yield f"<p><img alt='{html.escape(title)}' src='{source}' style='max-width: 100%'><br>{caption}</p>"
