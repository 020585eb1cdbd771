"""The report of one run, as one page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_runner.charts.run_charts import run_charts
from kd_runner.comparison.grouping import compared_groups
from kd_runner.errors import SettingsError
from kd_runner.files import atomic, result_schema, tolerant_json
from kd_runner.files.results import Run, read_run, top5_says_nothing
from kd_runner.files.run_folder import ANALYSIS, PAGE, RESULT
from kd_runner.files.scores import has_map, words_of
from kd_runner.files.stages import STAGES
from kd_runner.formats import four_digits, percent
from kd_runner.reports.certainty import certainty_of, unlearned_sentence
from kd_runner.reports.class_table import class_table
from kd_runner.reports.cost_table import cost_headings, cost_rows
from kd_runner.reports.data_table import data_lines, data_table
from kd_runner.reports.html import render
from kd_runner.reports.multi_label_table import multi_label_table
from kd_runner.reports.name_tags_notes import label_of
from kd_runner.reports.provenance import run_command, settings_in, surroundings
from kd_runner.reports.replaceable import refuse_another_page
from kd_runner.reports.shared_notes import other_notes, warning_of
from kd_runner.reports.shift_tables import calibration_rows, corruption_tables, further_tables
from kd_runner.reports.summary import NOTHING_DISTILLED, layer_lines, sentences, speed_sentence, table
from kd_runner.reports.titles import title_of
from kd_runner.reports.verdict import verdict_of
from kd_runner.terminal import fold_text, terminal_width

OF_SEVERAL_LABELS = (
    ("test mAP", "map", percent),
    ("validation mAP", "val_map", percent),
    ("macro F1", "f1", four_digits),
    ("micro F1", "micro_f1", four_digits),
    ("labels right", "label_accuracy", percent),
    ("images right in all labels", "exact_match", percent),
    ("binary cross-entropy, nats", "bce", four_digits),
    ("Brier score", "brier", four_digits),
    ("agreement with the teacher", "agreement", percent),
    ("KL to the teacher, nats a label", "kl_to_teacher", four_digits),
)


@dataclass(frozen=True)
class Folder:
    """The content of a run's folder, for its report.

    Args:
        settings: The run's settings by their keys with dots.
        charts: The charts by their names; empty without analysis.json.
        lacking: A line for each part that cannot be shown, with the reason.
    """

    run: Run
    settings: dict[str, str]
    analysis: dict[str, Any]
    charts: dict[str, Any]
    lacking: list[str] = field(default_factory=list)

    @property
    def finetune_epochs(self) -> int:
        """Epochs that the student trained beyond the baseline's."""
        epochs = self.settings.get("finetune.epochs", "0")
        return int(epochs) if epochs.isdecimal() and len(epochs) < 10 else 0


def report_run(folder: Path, out: Path) -> Path:
    """Write and print the report of the run in `folder`; returns the page, in `out`.

    Raises:
        SettingsError: the run has no result.
    """
    run_folder = read_folder(folder)
    page = _write_page(run_folder, out)
    width = terminal_width()
    print(table(run_folder.run.result, run_folder.finetune_epochs, width))
    for line in run_folder.lacking:
        print(fold_text(line, width))
    return page


def write(folder: Path, out: Path) -> Path:
    """Put report.html of the run in `folder` into `out`.

    Raises:
        SettingsError: the run has no result.
    """
    return _write_page(read_folder(folder), out)


def _write_page(folder: Folder, out: Path) -> Path:
    refuse_another_page(out)
    page = out / PAGE
    atomic.write(page, run_page(folder).encode(errors="replace"))
    return page


def read_folder(folder: Path) -> Folder:
    """The content of `folder`, with a line for each part that is missing or not as kd-runner writes it.

    Raises:
        SettingsError: the run has no result.
    """
    run = read_run(folder / RESULT)
    if not isinstance(run, Run):
        words = shlex.quote(f"resume={folder}")
        problem = f"{folder} has no result to report: {run.reason}"
        raise SettingsError(f"{problem}; kd-runner {words} goes on with a run that was stopped")
    settings, unset = settings_in(folder)
    content, wrong = tolerant_json.json_of(folder / ANALYSIS)
    analysis, gone = tolerant_json.remove_misshapen(content, result_schema.ANALYSIS)
    charts, failed = run_charts(analysis) if analysis else ({}, [])
    lacking = [
        run.left_out,
        f"{unset}: no settings are shown" if unset else "",
        f"{ANALYSIS} {wrong}: no pictures are shown" if wrong else "",
        tolerant_json.left_out(ANALYSIS, gone),
        f"{ANALYSIS}: not drawn, as its parts do not fit together: {', '.join(failed)}" if failed else "",
    ]
    return Folder(run, settings, analysis, charts, [line for line in lacking if line])


def run_page(folder: Folder) -> str:
    """The HTML of a run's report, from its result.json, settings.json and, where there is one, analysis.json."""
    run, result = folder.run, folder.run.result
    verdict = verdict_of(compared_groups([run]))
    # The verdict says already whether there is a gain and how sure it is, and the section on the cost how fast the
    # student is.
    known = (f"{NOTHING_DISTILLED}.", unlearned_sentence(result), certainty_of(result), speed_sentence(result))
    result_sentences = [sentence for sentence in sentences(result, folder.finetune_epochs) if sentence not in known]
    classes = folder.analysis.get("classes")
    data = result.get("data") or {}
    return render(
        "run.html",
        title=title_of([(run.words, folder.settings)], f"Distillation: {run.folder.resolve().name}"),
        subtitle=": ".join(
            filter(
                None,
                [run.folder.resolve().name, label_of(result), " ".join(run.words) or "all settings at their defaults"],
            )
        ),
        verdict=verdict,
        sentences=[*verdict.sentences, *result_sentences, *_teacher_sentence(result)],
        words=words_of(result),
        stages=[stage for stage in STAGES if result.get(stage)],
        warning=warning_of(result),
        notes=other_notes(result),
        lacking=folder.lacking,
        data=data_table(data),
        data_lines=data_lines(data),
        labels=multi_label_table(folder.analysis),
        numbers=[*_numbers(result, len(classes) if classes else None), *calibration_rows(result)],
        corruptions=corruption_tables(result),
        further=further_tables(result),
        class_numbers=class_table(folder.analysis),
        charts=folder.charts,
        cost=cost_rows(result),
        cost_headings=cost_headings(result),
        layers=[(f"layers of {key}", line) for key, line in layer_lines(result.get("layers") or {})],
        settings=list(folder.settings.items()),
        environment=surroundings([run]),
        command=run_command(result),
    )


def _judgement(result: Mapping[str, Any]) -> dict[str, Any]:
    judged = (result.get("teacher") or {}).get("judged") or {}
    return {name: value for name, value in judged.items() if value is not None}


def _teacher_sentence(result: Mapping[str, Any]) -> list[str]:
    """A sentence about the teacher's accuracy on the validation images, before the student trained."""
    judged = _judgement(result)
    if "val_accuracy" not in judged:
        return []
    comparisons = [
        f"{text} {percent(judged[name])}"
        for name, text in (
            ("recorded_accuracy", "its file says"),
            ("recorded_map", "its file says"),
            ("largest_class", "always the largest class gives"),
            ("guessing_map", "guessing gives about"),
        )
        if name in judged
    ]
    more = f" ({', '.join(comparisons)})" if comparisons else ""
    subject = "The mean of the teachers" if "members" in judged else "The teacher"
    return [f"{subject} {words_of(result)(percent(judged['val_accuracy']), 'validation images')}{more}."]


def _numbers(result: Mapping[str, Any], classes: int | None) -> Iterator[tuple[str, list[str]]]:
    """The name of each metric, and its text for each stage of the run; `classes` as in `top5_says_nothing`."""
    numbers = [result[stage] for stage in STAGES if result.get(stage)]

    if has_map(result):
        yield from _numbers_of_several_labels(numbers)
        return
    for name, key, text in (
        ("test accuracy", "accuracy", percent),
        ("validation accuracy", "val_accuracy", percent),
        ("balanced accuracy", "balanced_accuracy", percent),
        ("top-5 accuracy", "top5_accuracy", percent),
        ("precision", "precision", four_digits),
        ("recall", "recall", four_digits),
        ("F1", "f1", four_digits),
        ("NLL, nats", "nll", four_digits),
        ("ECE", "ece", four_digits),
        ("Brier score", "brier", four_digits),
        ("AUROC", "auroc", four_digits),
        ("average precision", "average_precision", four_digits),
        ("agreement with the teacher", "agreement", percent),
        ("KL to the teacher, nats", "kl_to_teacher", four_digits),
    ):
        if key == "top5_accuracy" and top5_says_nothing(result, classes):
            continue
        if any(stage.get(key) is not None for stage in numbers):
            yield name, [text(stage.get(key)) for stage in numbers]


def _numbers_of_several_labels(stages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """The rows of metrics where an image may have several labels."""
    for name, key, text in OF_SEVERAL_LABELS:
        if any(stage.get(key) is not None for stage in stages):
            yield name, [text(stage.get(key)) for stage in stages]
