"""The report of sweeps and runs together, as one page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kd_runner.charts.little_data import over_compute, over_images
from kd_runner.charts.sweep_charts import pareto, strips
from kd_runner.comparison.groups import Group, by_data_set
from kd_runner.files import tolerant_json
from kd_runner.files.results import FOLD, SEEDS, Run
from kd_runner.files.run_folder import MULTIRUN, NETWORKS, NOW
from kd_runner.files.stages import STAGES, TIMED
from kd_runner.formats import UNKNOWN, clock, count, number_of, percent, short_count, times
from kd_runner.plain_text import printable
from kd_runner.reports.html import render
from kd_runner.reports.leaderboard import Leaderboard, first_lines
from kd_runner.reports.page_data import is_large, missing_row, page_data, run_rows
from kd_runner.reports.provenance import common_provenance, run_command, settings_in, surroundings, sweep_command
from kd_runner.reports.report_sources import Sources
from kd_runner.reports.titles import title_of
from kd_runner.reports.two_settings import number_or_text, two_settings, values_by_setting
from kd_runner.reports.verdict import Verdict

MOST_COMMANDS = 10  # commands, of sweeps and of single runs
MOST_NOTES = 12  # notes that are shown without a click
MOST_VALUES = 12  # values of a setting that differs between runs
MOST_ROWS = 50  # rows of each table in a page that has all of them in its interactive ones
MOST_MISSING = 12  # the same of the table of runs without a result
MOST_POINTS = 500  # rows in the pictures of such a page on paper
PLAIN = ("print.js", "sort.js")
INTERACTIVE = (*PLAIN, "tabulator.min.js", "echarts.min.js", "sweep.js")
COST_KEYS = (
    "images_seen",
    "times_baseline",
    "seconds",
    "parameters",
)  # columns of the leaderboard that the table of costs has


def sweep_page(
    leaderboard: Leaderboard,
    folders: Sequence[Path],
    out: Path,
    sources: Sources | None = None,
    interactive: bool = False,
    live: str = "",
) -> str:
    """The HTML of the report of all runs under `folders`, to be written into `out`.

    Args:
        sources: The names below the folders, where they are known.
        interactive: True for a table and pictures that answer to a person also where there are few runs.
        live: The version of the page of `kd-report --serve`, which asks its own server whether there is a newer one;
            empty for a page in a file.
    """
    sources = sources or Sources.of(folders)
    runs = leaderboard.runs
    settings_and_faults = [settings_in(run.folder, sources.cache) for run in runs]
    settings = [content for content, _ in settings_and_faults if content]
    common = common_provenance(settings)
    commands = list(_commands(sources, runs))
    about = [(run.words, content) for run, (content, _) in zip(runs, settings_and_faults, strict=True)]
    about = about or [(tuple(run.words.split()), {}) for run in leaderboard.missing]
    headline = _headline(leaderboard)
    large = interactive or is_large(leaderboard)
    most = MOST_ROWS if large else None
    ranked = by_data_set(leaderboard.groups)
    compared = leaderboard.groups if len(ranked) < 2 else []  # pictures across data sets would compare their accuracies
    names = ", ".join(folder.resolve().name for folder in folders[:3]) + (" …" if len(folders) > 3 else "")
    return render(
        "sweep.html",
        scripts=[*(INTERACTIVE if large else PLAIN), *(["live.js"] if live else [])],
        live=live,
        data=page_data(leaderboard, out, sources) if large else None,
        title=title_of(about, names),
        subtitle=f"{_subtitle(leaderboard, runs)} · {names}",
        verdict=headline,
        sentences=[*headline.sentences, *(printable(" ".join(to_use)) for to_use in [leaderboard.to_use] if to_use)],
        searches=leaderboard.searches,
        tiles=_tiles(leaderboard.verdict.best),
        notes=leaderboard.notes,
        most_notes=MOST_NOTES,
        lacking=first_lines([*leaderboard.left_out, *_unread_settings(settings_and_faults, runs)]),
        leaderboard=leaderboard,
        words=leaderboard.words,
        columns=[column for column in leaderboard.columns if column.key not in COST_KEYS],
        rows=leaderboard.rows[:most],
        most=most,
        strips=strips(leaderboard.groups),
        pareto=pareto(compared[:MOST_POINTS] if large else compared),
        over_images=over_images(compared) if not large else None,
        over_compute=over_compute(compared) if not large else None,
        two_settings=two_settings(compared),
        runs=list(islice(run_rows(leaderboard.groups, out, sources), most)),
        missing=[missing_row(run, out, sources) for run in leaderboard.missing[: MOST_MISSING if large else None]],
        cost=_cost_table(leaderboard.groups[:most]),
        total=_total_time(runs, sources),
        swept=_differing_settings(settings, common, leaderboard.groups),
        common=[(key, value) for key, value in common.items() if key not in ("resume",)],
        environment=surroundings(runs),
        commands=commands[:MOST_COMMANDS],
        more_commands=max(0, len(commands) - MOST_COMMANDS),
        again=shlex.join(["kd-report", *map(str, folders), *_where(folders, out, live)]),
    )


def _where(folders: Sequence[Path], out: Path, live: str) -> list[str]:
    """The words of a command that say where the page is shown."""
    if live:
        return ["--serve"]
    return [] if list(folders) == [out] else ["--out", str(out)]


def _headline(leaderboard: Leaderboard) -> Verdict:
    """The verdict; of one search, first the trial that it chose, which the verdict is about."""
    verdict = leaderboard.verdict
    if len(leaderboard.searches) != 1:
        return verdict
    (search,) = leaderboard.searches
    return Verdict("unknown", search.headline, [*search.sentences, str(verdict)], verdict.best)


def _unread_settings(settings_and_faults: Sequence[tuple[dict[str, str], str]], runs: Sequence[Run]) -> list[str]:
    """A line for each run whose settings cannot be shown."""
    return [f"{run.folder}: {fault}" for (_, fault), run in zip(settings_and_faults, runs, strict=True) if fault]


def _subtitle(leaderboard: Leaderboard, runs: Sequence[Run]) -> str:
    if not runs:
        return f"{number_of(len(leaderboard.missing), 'run')} without a result"
    lacking = f", {len(leaderboard.missing)} without a result" if leaderboard.missing else ""
    return f"{number_of(len(runs), 'run')} in {number_of(len(leaderboard.groups), 'row')}{lacking}"


def _tiles(best: Group | None) -> list[tuple[str, str, str]]:
    """Name, accuracy and size of each network in the row that the verdict is about."""
    if best is None:
        return []
    names = {"teacher": "teacher", "baseline": "student alone", "student": "student, distilled"}
    tiles = []
    for stage in STAGES:
        accuracy, parameters = best.mean(stage, "accuracy"), best.mean(stage, "parameters")
        if accuracy is not None:
            size = "" if parameters is None else f"{short_count(parameters)} parameters"
            tiles.append((names[stage], percent(accuracy), size))
    return tiles


def _cost_table(groups: Sequence[Group]) -> dict[str, Any]:
    """Headings, and rows of cells: the value by which the page sorts, and its text.

    A column of which no row has a value is left out, such as that beside the baseline where no run has one.
    """

    rows = []
    for rank, group in enumerate(groups, 1):
        parameters, macs = group.mean("student", "parameters"), group.mean("student", "macs")
        teacher_sizes = [group.mean("teacher", name) for name in ("parameters", "macs")]
        ratios = [
            (amount / reference if amount is not None and reference else None, _ratio_to_teacher(amount, reference))
            for amount, reference in zip((parameters, macs), teacher_sizes, strict=True)
        ]
        seconds, images = group.mean("seconds", "student"), group.mean("student", "images_seen")
        compute = group.mean("budget", "times_baseline")
        rows.append(
            [
                (rank, str(rank)),
                (group.name, group.name),
                (seconds, clock(seconds)),
                (images, count(images) + _more_than_baseline(images, group.mean("baseline", "images_seen"))),
                (compute, times(compute) or UNKNOWN),
                (parameters, count(parameters)),
                ratios[0],
                (macs, count(macs)),
                ratios[1],
            ]
        )
    headings = (
        "#",
        "settings",
        "time",
        "images seen",
        "compute, × baseline's",
        "parameters",
        "than teacher",
        "MACs",
        "than teacher",
    )
    shown = [
        column for column, cells in enumerate(zip(*rows, strict=True)) if any(cell[0] is not None for cell in cells)
    ]
    return {
        "headings": [headings[column] for column in shown],
        "rows": [[row[column] for column in shown] for row in rows],
    }


def _more_than_baseline(images: float | None, baseline: float | None) -> str:
    """A clause where a student saw more views of images than its baseline."""
    return f", {times(images / baseline)} × baseline's" if images and baseline and images > baseline else ""


def _ratio_to_teacher(amount: float | None, teacher: float | None) -> str:
    """The text of a size beside the teacher's, such as '2.5 × fewer'."""
    if not amount or not teacher:
        return "–"
    if amount == teacher:
        return "as many"
    return f"{teacher / amount:.3g} × fewer" if amount < teacher else f"{amount / teacher:.3g} × more"


def _total_time(runs: Sequence[Run], sources: Sources) -> str:
    """The time that all runs took together, in sentences."""
    seconds = {stage: sum((run.result.get("seconds") or {}).get(stage) or 0.0 for run in runs) for stage in TIMED}
    states = [tolerant_json.json_of(path / NOW)[0] for path in sources.holding(NOW) if path.parent.name == NETWORKS]
    before = sum(
        tolerant_json.number(state.get("epoch")) * tolerant_json.number(state.get("seconds_per_epoch"))
        for state in states
    )
    parts = ", ".join(f"{stage} {clock(took)}" for stage, took in seconds.items() if took)
    sentence = f"All runs together took {clock(sum(seconds.values()))} ({parts})."
    if states:
        networks = "teacher or baseline" if len(states) == 1 else f"{len(states)} teachers and baselines"
        sentence += f" The {networks} that several of them share took {clock(before)} before that."
    return f"{sentence} What was found in the store was trained earlier, and is in none of these."


def _differing_settings(
    settings: Sequence[dict[str, str]], common: dict[str, str], groups: Sequence[Group]
) -> list[tuple[str, str]]:
    """The settings that differ between runs, and their values: the options that were typed first.

    Without where a run went on from, and without the paths of classes: the options' names say the same.
    """
    overrides = [dict(word.partition("=")[::2] for word in group.words) for group in groups]
    values_of = {key: values for key, values in values_by_setting(overrides).items() if "." not in key}
    for key in {key for content in settings for key in content}:
        if key not in common and key != "resume" and key.rpartition(".")[2] != "_target_":
            values_of[key] = list(dict.fromkeys(content[key] for content in settings if key in content))
    return [
        (key, ", ".join(sorted(values, key=number_or_text)[:MOST_VALUES]) + _more(values))
        for key, values in sorted(
            values_of.items(), key=lambda item: (item[0] in (*SEEDS, FOLD), "." in item[0], item[0])
        )
        if len(values) > 1  # one value: an argument of a mode that the other runs do not use
    ]


def _more(values: Sequence[str]) -> str:
    return f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""


def _commands(sources: Sources, runs: Sequence[Run]) -> Iterator[str]:
    """The commands of the sweeps, then those of the runs that belong to no sweep."""
    sweeps: set[str] = set()
    for folder in sorted(set(sources.holding(MULTIRUN))):
        line = sweep_command(folder / MULTIRUN)
        if line is not None:
            sweeps.add(sources.resolve(folder))
            yield line
    for run in runs:
        resolved = sources.resolve(run.folder)
        if not any(resolved.startswith(os.path.join(folder, "")) for folder in sweeps):  # noqa: PTH118
            yield run_command(run.result)
