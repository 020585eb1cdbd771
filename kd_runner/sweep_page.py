"""The report of sweeps and runs together, as one page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kd_runner import atomic, pictures
from kd_runner.leaderboard import Leaderboard
from kd_runner.pages import (
    clock,
    command,
    count,
    percent,
    render,
    settings_in,
    shared,
    surroundings,
    sweep_command,
)
from kd_runner.results import PAGE, SEEDS, Group, Run

MOST_COMMANDS = 10  # of single runs
MOST_VALUES = 12  # of a setting that differs
IN_COST = ("images_seen", "seconds")  # columns that have a table of their own
STAGES = ("teacher", "baseline", "student", "evaluate")


def sweep_page(board: Leaderboard, folders: Sequence[Path], out: Path) -> str:
    """HTML of a leaderboard of what was found in `folders`, for the folder `out`."""
    runs = [run for group in board.groups for run in group.runs]
    settings = [each for each in (settings_in(run.folder) for run in runs) if each]
    common = shared(settings)
    commands = list(_commands(folders, runs))
    names = ", ".join(folder.resolve().name for folder in folders[:3]) + (" …" if len(folders) > 3 else "")
    return render(
        "sweep.html",
        title=f"Distillation: {names}",
        subtitle=_subtitle(board, runs),
        answer=board.answer,
        sentences=board.answer.sentences,
        tiles=_tiles(board.answer.best),
        board=board,
        columns=[column for column in board.columns if column.key not in IN_COST],
        strips=pictures.strips(board.groups),
        pareto=pictures.pareto(board.groups),
        heat_map=pictures.heat_map(board.groups),
        runs=list(_runs(board.groups, out)),
        cost=_cost(board.groups),
        total=_total(runs, folders),
        swept=_swept(settings, common),
        common=[(key, value) for key, value in common.items() if key not in ("resume",)],
        environment=surroundings(runs),
        commands=commands[:MOST_COMMANDS],
        more_commands=max(0, len(commands) - MOST_COMMANDS),
        again=shlex.join(["kd-report", *map(str, folders)]),
    )


def _subtitle(board: Leaderboard, runs: Sequence[Run]) -> str:
    lacking = f", {len(board.missing)} without a result" if board.missing else ""
    return f"{len(runs)} runs in {len(board.groups)} rows{lacking}"


def _tiles(best: Group | None) -> list[tuple[str, str, str]]:
    """Name, number and what it is of: the teacher, the student and its baseline of the answer's row."""
    if best is None:
        return []
    means = {stage: best.values(stage, "accuracy") for stage in STAGES[:3]}
    sizes = {stage: best.values(stage, "parameters") for stage in STAGES[:3]}
    names = {"teacher": "teacher", "baseline": "student alone", "student": "student, distilled"}
    return [
        (
            names[stage],
            percent(float(means[stage].mean())),
            f"{pictures.short_count(sizes[stage].mean())} parameters" if len(sizes[stage]) else "",
        )
        for stage in ("teacher", "baseline", "student")
        if len(means[stage])
    ]


def _runs(groups: Sequence[Group], out: Path) -> Iterator[dict[str, Any]]:
    for rank, group in enumerate(groups, 1):
        for run in sorted(group.runs, key=lambda run: [(len(seed), seed) for seed in run.seeds]):
            accuracies = {stage: (run.result.get(stage) or {}).get("accuracy") for stage in STAGES[:3]}
            gain = None if accuracies["baseline"] is None else accuracies["student"] - accuracies["baseline"]
            place = os.path.relpath(run.folder, out)
            seeds = run.seeds[0] if run.seeds[1] == "0" else f"{run.seeds[0]}, data {run.seeds[1]}"
            link = quote(f"{place}/{PAGE}") if (run.folder / PAGE).exists() else None
            yield {
                "rank": rank,
                "name": group.name,
                "seed": seeds,
                **accuracies,
                "gain": gain,
                "folder": place,
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
        fewer = [
            whole / own if whole and own else None for whole, own in zip(of_teacher, (parameters, macs), strict=True)
        ]
        numbers = (mean(group, "seconds", "student"), mean(group, "student", "images_seen"))
        rows.append(
            [
                (rank, str(rank)),
                (group.name, group.name),
                (numbers[0], clock(numbers[0])),
                (numbers[1], count(numbers[1])),
                (parameters, count(parameters)),
                (fewer[0], "–" if fewer[0] is None else f"{fewer[0]:.3g} ×"),
                (macs, count(macs)),
                (fewer[1], "–" if fewer[1] is None else f"{fewer[1]:.3g} ×"),
            ]
        )
    headings = ("#", "settings", "time", "images seen", "parameters", "fewer", "MACs", "fewer")
    return {"headings": headings, "rows": rows}


def _total(runs: Sequence[Run], folders: Sequence[Path]) -> str:
    """What all runs took together, in words."""
    seconds = {stage: sum((run.result.get("seconds") or {}).get(stage) or 0.0 for run in runs) for stage in STAGES}
    first = [atomic.read_json(path) for folder in folders for path in sorted(folder.glob("**/networks/*/now.json"))]
    before = sum(float(each.get("epoch", 0)) * float(each.get("seconds_per_epoch", 0)) for each in first)
    parts = ", ".join(f"{stage} {clock(took)}" for stage, took in seconds.items() if took)
    said = f"All runs together took {clock(sum(seconds.values()))} ({parts})."
    if first:
        said += f" The {len(first)} teachers and baselines that several of them share took {clock(before)} before that."
    return f"{said} What was found in the store was trained earlier, and is in none of these."


def _swept(settings: Sequence[dict[str, str]], common: dict[str, str]) -> list[tuple[str, str]]:
    """The settings that differ between runs, and their values."""
    found: dict[str, list[str]] = {}
    for each in settings:
        for key, value in each.items():
            if key not in common and value not in found.setdefault(key, []):
                found[key].append(value)
    return [
        (key, ", ".join(sorted(values, key=pictures.number_or_text)[:MOST_VALUES]) + _more(values))
        for key, values in sorted(found.items(), key=lambda each: each[0] in SEEDS)
        if len(values) > 1  # others are a mode's own arguments, which other modes do not have
    ]


def _more(values: Sequence[str]) -> str:
    return f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""


def _commands(folders: Sequence[Path], runs: Sequence[Run]) -> Iterator[str]:
    """The commands that started the sweeps, then those of runs that were part of none."""
    covered: list[Path] = []
    for record in sorted({path for folder in folders for path in folder.rglob("multirun.yaml")}):
        said = sweep_command(record)
        if said is not None:
            covered.append(record.parent.resolve())
            yield said
    for run in runs:
        if not any(place in run.folder.resolve().parents for place in covered):
            yield command(map(str, run.result.get("overrides", [])))
