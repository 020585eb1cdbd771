"""The report of sweeps and runs together, as one page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kd_runner.charts.sweep_charts import pareto, strips
from kd_runner.comparison.groups import Group
from kd_runner.files import reading
from kd_runner.files.results import SEEDS, Run
from kd_runner.files.run_folder import MULTIRUN, PAGE
from kd_runner.files.stages import STAGES, TIMED
from kd_runner.formats import clock, count, percent, short_count
from kd_runner.reports.html import render
from kd_runner.reports.leaderboard import Leaderboard, some_lines
from kd_runner.reports.provenance import command, common_provenance, settings_in, surroundings, sweep_command
from kd_runner.reports.shared_notes import shared_notes
from kd_runner.reports.two_settings import number_or_text, two_settings

MOST_COMMANDS = 10  # of single runs
MOST_NOTES = 12  # that are shown unfolded
MOST_VALUES = 12  # of a setting that differs
IN_COST = ("images_seen", "seconds", "parameters")  # columns that have a table of their own


def sweep_page(board: Leaderboard, folders: Sequence[Path], out: Path) -> str:
    """HTML of a leaderboard of what was found in `folders`, for the folder `out`."""
    runs = [run for group in board.groups for run in group.runs]
    opened = [settings_in(run.folder) for run in runs]
    settings = [content for content, _ in opened if content]
    common = common_provenance(settings)
    commands = list(_commands(folders, runs))
    names = ", ".join(folder.resolve().name for folder in folders[:3]) + (" …" if len(folders) > 3 else "")
    return render(
        "sweep.html",
        title=f"Distillation: {names}",
        subtitle=_subtitle(board, runs),
        answer=board.answer,
        sentences=board.answer.sentences,
        tiles=_tiles(board.answer.best),
        notes=shared_notes(runs),
        most_notes=MOST_NOTES,
        lacking=some_lines([*board.left_out, *_unread(opened, runs)]),
        board=board,
        columns=[column for column in board.columns if column.key not in IN_COST],
        strips=strips(board.groups),
        pareto=pareto(board.groups),
        two_settings=two_settings(board.groups),
        runs=list(_runs(board.groups, out)),
        cost=_cost(board.groups),
        total=_total(runs, folders),
        swept=_swept(settings, common),
        common=[(key, value) for key, value in common.items() if key not in ("resume",)],
        environment=surroundings(runs),
        commands=commands[:MOST_COMMANDS],
        more_commands=max(0, len(commands) - MOST_COMMANDS),
        again=shlex.join(["kd-report", *map(str, folders), *([] if list(folders) == [out] else ["--out", str(out)])]),
    )


def _unread(opened: Sequence[tuple[dict[str, str], str]], runs: Sequence[Run]) -> list[str]:
    """A line for each run whose settings cannot be shown."""
    return [f"{run.folder}: {wrong}" for (_, wrong), run in zip(opened, runs, strict=True) if wrong]


def _subtitle(board: Leaderboard, runs: Sequence[Run]) -> str:
    lacking = f", {len(board.missing)} without a result" if board.missing else ""
    return f"{len(runs)} runs in {len(board.groups)} rows{lacking}"


def _tiles(best: Group | None) -> list[tuple[str, str, str]]:
    """Name, number and what it is of: the teacher, the student and its baseline of the answer's row."""
    if best is None:
        return []
    means = {stage: best.values(stage, "accuracy") for stage in STAGES}
    sizes = {stage: best.values(stage, "parameters") for stage in STAGES}
    names = {"teacher": "teacher", "baseline": "student alone", "student": "student, distilled"}
    return [
        (
            names[stage],
            percent(float(means[stage].mean())),
            f"{short_count(sizes[stage].mean())} parameters" if len(sizes[stage]) else "",
        )
        for stage in STAGES
        if len(means[stage])
    ]


def _runs(groups: Sequence[Group], out: Path) -> Iterator[dict[str, Any]]:
    for rank, group in enumerate(groups, 1):
        for run in sorted(group.runs, key=lambda run: [(len(seed), seed) for seed in run.seeds]):
            accuracies = {stage: (run.result.get(stage) or {}).get("accuracy") for stage in STAGES}
            gain = None if accuracies["baseline"] is None else accuracies["student"] - accuracies["baseline"]
            relative = os.path.relpath(run.folder, out)
            seeds = run.seeds[0] if run.seeds[1] == "0" else f"{run.seeds[0]}, data {run.seeds[1]}"
            link = quote(os.fsencode(f"{relative}/{PAGE}")) if (run.folder / PAGE).exists() else None
            yield {
                "rank": rank,
                "name": group.name,
                "seed": seeds,
                **accuracies,
                "gain": gain,
                "folder": relative,
                "link": link,
            }


def _cost(groups: Sequence[Group]) -> dict[str, Any]:
    """Headings, and rows of values to sort by and their texts."""

    def mean(group: Group, *keys: str) -> float | None:
        values = group.values(*keys)
        return float(values.mean()) if len(values) else None

    rows = []
    for rank, group in enumerate(groups, 1):
        parameters, macs = mean(group, "student", "parameters"), mean(group, "student", "macs")
        of_teacher = [mean(group, "teacher", name) for name in ("parameters", "macs")]
        beside = [
            (amount / reference if amount is not None and reference else None, _beside(amount, reference))
            for amount, reference in zip((parameters, macs), of_teacher, strict=True)
        ]
        numbers = (mean(group, "seconds", "student"), mean(group, "student", "images_seen"))
        rows.append(
            [
                (rank, str(rank)),
                (group.name, group.name),
                (numbers[0], clock(numbers[0])),
                (numbers[1], count(numbers[1])),
                (parameters, count(parameters)),
                beside[0],
                (macs, count(macs)),
                beside[1],
            ]
        )
    headings = ("#", "settings", "time", "images seen", "parameters", "than teacher", "MACs", "than teacher")
    return {"headings": headings, "rows": rows}


def _beside(amount: float | None, teacher: float | None) -> str:
    """A text that says how many times fewer or more there are than in the teacher."""
    if not amount or not teacher:
        return "–"
    if amount == teacher:
        return "as many"
    return f"{teacher / amount:.3g} × fewer" if amount < teacher else f"{amount / teacher:.3g} × more"


def _total(runs: Sequence[Run], folders: Sequence[Path]) -> str:
    """The time that all runs took together, in words."""
    seconds = {stage: sum((run.result.get("seconds") or {}).get(stage) or 0.0 for run in runs) for stage in TIMED}
    paths = [path for folder in folders for path in sorted(folder.glob("**/networks/*/now.json"))]
    first = [reading.json_of(path)[0] for path in paths]
    before = sum(reading.number(state.get("epoch")) * reading.number(state.get("seconds_per_epoch")) for state in first)
    parts = ", ".join(f"{stage} {clock(took)}" for stage, took in seconds.items() if took)
    sentence = f"All runs together took {clock(sum(seconds.values()))} ({parts})."
    if first:
        sentence += (
            f" The {len(first)} teachers and baselines that several of them share took {clock(before)} before that."
        )
    return f"{sentence} What was found in the store was trained earlier, and is in none of these."


def _swept(settings: Sequence[dict[str, str]], common: dict[str, str]) -> list[tuple[str, str]]:
    """The settings that differ between runs, and their values."""
    values_of: dict[str, list[str]] = {}
    for content in settings:
        for key, value in content.items():
            if key not in common and value not in values_of.setdefault(key, []):
                values_of[key].append(value)
    return [
        (key, ", ".join(sorted(values, key=number_or_text)[:MOST_VALUES]) + _more(values))
        for key, values in sorted(values_of.items(), key=lambda content: content[0] in SEEDS)
        if len(values) > 1  # others are a mode's own arguments, which other modes do not have
    ]


def _more(values: Sequence[str]) -> str:
    return f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""


def _commands(folders: Sequence[Path], runs: Sequence[Run]) -> Iterator[str]:
    """The commands that started the sweeps, then those of runs that were part of none."""
    covered: list[Path] = []
    for record in sorted({path for folder in folders for path in folder.rglob(MULTIRUN)}):
        line = sweep_command(record)
        if line is not None:
            covered.append(record.parent.resolve())
            yield line
    for run in runs:
        if not any(folder in run.folder.resolve().parents for folder in covered):
            yield command(run.result.get("overrides") or [])
