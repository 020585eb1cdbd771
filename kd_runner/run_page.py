"""The report of one run, as one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kd_runner import atomic
from kd_runner.answer import verdict
from kd_runner.config import SettingsError
from kd_runner.leaderboard import grouped
from kd_runner.pages import clock, command, count, percent, render, settings_in, surroundings
from kd_runner.report import STAGES, sentences, table
from kd_runner.results import PAGE, RESULT, Run, read
from kd_runner.run_pictures import run_pictures
from kd_runner.terminal import terminal_width

ANALYSIS = "analysis.json"


def report_of(folder: Path, out: Path) -> Path:
    """Write and print the report of the run in `folder`; returns the page, in `out`.

    Raises:
        SettingsError: the run has no result, or one that lacks something.
    """
    try:
        page = write(folder, out)
        text = table(atomic.read_json(folder / RESULT), _finetuned(folder), terminal_width())
    except (KeyError, TypeError, IndexError) as error:
        raise SettingsError(f"{folder} holds no whole result of kd-runner ({type(error).__name__}: {error})") from error
    print(text)
    return page


def write(folder: Path, out: Path) -> Path:
    """Put report.html of the run in `folder` into `out`.

    Raises:
        SettingsError: the run has no result.
    """
    run = read(folder / RESULT)
    if not isinstance(run, Run):
        raise SettingsError(f"{folder} has no result to report: {run.reason}")
    page = out / PAGE
    atomic.write(page, run_page(run).encode())
    return page


def run_page(run: Run) -> str:
    """HTML of a run: what result.json, settings.json and, where it is there, analysis.json say."""
    result = run.result
    settings = settings_in(run.folder)
    answer = verdict(grouped([run]))
    return render(
        "run.html",
        title=f"Distillation: {run.folder.resolve().name}",
        subtitle=" ".join(run.words) or "all settings at their defaults",
        answer=answer,
        sentences=[*answer.sentences, *sentences(result, _finetuned(run.folder))],
        stages=[stage for stage in STAGES if result.get(stage)],
        notes=list(result.get("notes") or []),
        numbers=list(_numbers(result)),
        drawn=run_pictures(atomic.read_json(run.folder / ANALYSIS)),
        cost=list(_cost(result)),
        settings=list(settings.items()),
        environment=surroundings([run]),
        command=command(map(str, result.get("overrides", []))),
    )


def _finetuned(folder: Path) -> int:
    return int(settings_in(folder).get("finetune.epochs", 0))


def _numbers(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The metrics, each with its text for every stage that there is."""
    numbers = [result[stage] for stage in STAGES if result.get(stage)]

    def four_digits(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    for name, key, text in (
        ("accuracy", "accuracy", percent),
        ("top-5 accuracy", "top5_accuracy", percent),
        ("precision", "precision", four_digits),
        ("recall", "recall", four_digits),
        ("F1", "f1", four_digits),
        ("NLL, nats", "nll", four_digits),
        ("ECE", "ece", four_digits),
        ("agreement with the teacher", "agreement", percent),
        ("KL to the teacher, nats", "kl_to_teacher", four_digits),
    ):
        if any(each.get(key) is not None for each in numbers):
            yield name, [text(each.get(key)) for each in numbers]


def _cost(result: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    stages = [stage for stage in STAGES if result.get(stage)]
    for name, key in (
        ("parameters", "parameters"),
        ("MACs, one image", "macs"),
        ("training images seen", "images_seen"),
    ):
        yield name, [count(result[stage].get(key)) for stage in stages]
    yield "time in this run", [clock((result.get("seconds") or {}).get(stage)) for stage in stages]
