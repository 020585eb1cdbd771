"""The data of the interactive page of a large sweep: columns of texts and numbers, as JSON in the page.

A column of texts that repeat is a list of its values and, for each row, the index of one. Accuracies are whole numbers
of 0.01 points. Curves are two bytes an epoch, in base64. Nothing in it is HTML: the page's script makes texts of it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from kd_runner.comparison.groups import Group, accuracies_to_choose_by
from kd_runner.files.results import MissingRun, Run
from kd_runner.files.run_folder import CONSOLE, LOG, PAGE
from kd_runner.files.stages import STAGES
from kd_runner.reports.leaderboard import TEXTS, Leaderboard
from kd_runner.reports.report_sources import Sources
from kd_runner.reports.two_settings import values_by_setting

MANY_RUNS = 100  # runs, with and without a result, from which on a page is interactive
MOST_EPOCHS = 50  # points of a curve
MOST_CURVES = 4000  # rows whose curves are in the page
NO_VALUE = 65535  # in a curve, where a share is 65534 at most
HIDDEN = ("images_seen", "times_baseline", "seconds", "parameters", "macs", "latency")  # columns until they are chosen
NOT_DRAWN = ("size beside the teacher", "speed beside the teacher", "95 %")  # headings of numbers that are words


def page_data(leaderboard: Leaderboard, out: Path, sources: Sources) -> Markup:
    """The JSON of the page, which no text in it can leave.

    Args:
        out: The folder of the page, from which its links start.
    """
    _, split = accuracies_to_choose_by(leaderboard.groups) if leaderboard.groups else ([], "validation")
    content = {
        "score": leaderboard.words.name,
        "split": split,
        "columns": list(_columns(leaderboard)),
        "settings": list(_settings(leaderboard.groups)),
        "curves": _curves(leaderboard.groups),
        "runs": _runs(leaderboard, out, sources),
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def encode_column(values: Sequence[Hashable]) -> dict[str, Any]:
    """A column: its values, or where they repeat each once, and their indices."""
    unique = {value: number for number, value in enumerate(dict.fromkeys(values))}
    if 2 * len(unique) > len(values):
        return {"values": list(values)}
    return {"values": list(unique), "codes": [unique[value] for value in values]}


def _columns(leaderboard: Leaderboard) -> Iterator[dict[str, Any]]:
    """The columns of the leaderboard, in the texts of its table."""
    for column in leaderboard.columns:
        yield {
            "title": column.heading or "#",
            "key": column.key,
            "text": column.key in TEXTS,
            "hidden": column.key in HIDDEN,
            "drawn": column.key not in TEXTS and column.heading not in NOT_DRAWN and column.key != "rank",
            **encode_column([column.text(row) for row in leaderboard.rows]),
        }


def _settings(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """The settings in which the rows differ: a column of values for each; an empty text where a row has none."""
    overrides = [dict(word.partition("=")[::2] for word in group.words) for group in groups]
    for key, values in values_by_setting(overrides).items():
        if len(values) > 1 or any(key not in settings for settings in overrides):
            yield {"title": key, **encode_column([settings.get(key, "") for settings in overrides])}


def _curves(groups: Sequence[Group]) -> dict[str, Any] | None:
    """The curves of each row: mean and standard deviation of the students' validation accuracy, and the number of runs.

    Of many epochs some are left out, the same distances apart; `epochs` says which are there.
    """
    histories = [_history(group) for group in groups[:MOST_CURVES]]
    longest = max((len(mean) for mean, _, _ in histories), default=0)
    if longest < 2:
        return None
    epochs = np.unique(np.linspace(1, longest, min(longest, MOST_EPOCHS)).round().astype(int))
    table = np.full((2, len(histories), len(epochs)), NO_VALUE, "<u2")
    for row, (mean, spread, _) in enumerate(histories):
        shown_epochs = epochs[epochs <= len(mean)]
        for kind, values in enumerate((mean, spread)):
            shares = values[shown_epochs - 1]
            known = np.isfinite(shares)
            table[kind, row, : len(shown_epochs)][known] = np.rint(shares[known].clip(0, 1) * (NO_VALUE - 1))
    return {
        "epochs": epochs.tolist(),
        "rows": len(histories),
        "runs": encode_column([runs for *_, runs in histories]),
        "mean": base64.b64encode(table[0].tobytes()).decode(),
        "spread": base64.b64encode(table[1].tobytes()).decode() if any(len(group.runs) > 1 for group in groups) else "",
    }


def _history(group: Group) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean and standard deviation over the runs of a row, float64 [epochs], and the number of those runs.

    They end where the first run does: beyond, the mean would leap to that of the others. There is no deviation of one.
    Runs that say nothing of their epochs are not in it.
    """
    curves = [run.result["student"].get("val_accuracies") for run in group.runs]
    runs = [curve for curve in curves if curve]
    values = np.array([curve[: min(map(len, runs))] for curve in runs], np.float64)  # NaN where an epoch has none
    if not runs:
        return np.empty(0), np.empty(0), 0
    return values.mean(0), values.std(0, ddof=1) if len(runs) > 1 else np.full(values.shape[1], np.nan), len(runs)


def _runs(leaderboard: Leaderboard, out: Path, sources: Sources) -> dict[str, Any]:
    """All runs, those with a result first, in the order of their rows."""
    runs, missing = list(run_rows(leaderboard.groups, out, sources)), leaderboard.missing
    missing_rows = [missing_row(run, out, sources) for run in missing]
    accuracies = {
        stage: [_ten_thousandths(run[stage]) for run in runs] + [None] * len(missing_rows)
        for stage in (*STAGES, "gain")
    }
    every = [*runs, *missing_rows]
    return {
        "row": [run["rank"] - 1 for run in runs] + [-1] * len(missing_rows),
        "words": encode_column(["" for _ in runs] + [run["words"] for run in missing_rows]),
        "seed": encode_column([run["seed"] for run in every]),
        "status": encode_column([run["status"] for run in every]),
        **accuracies,
        "folder": [run["folder"] for run in every],
        # Where a link needs a name in another form; the names of most folders can stand in it as they are.
        "hrefs": {str(n): run["href"] for n, run in enumerate(every) if run["href"] != run["folder"]},
        "page": encode_column([bool(run["link"]) for run in every]),
        "log": encode_column([run["log"] for run in every]),
    }


def run_rows(groups: Sequence[Group], out: Path, sources: Sources) -> Iterator[dict[str, Any]]:
    """A row of the table of runs for each run with a result."""
    for rank, group in enumerate(groups, 1):
        for run in sorted(group.runs, key=lambda run: [(len(seed), seed) for seed in run.seeds]):
            accuracies = {stage: (run.result.get(stage) or {}).get("accuracy") for stage in STAGES}
            gain = None if accuracies["baseline"] is None else accuracies["student"] - accuracies["baseline"]
            yield {
                "rank": rank,
                "name": group.name,
                "seed": _seed_in_words(run),
                "status": "completed",
                **accuracies,
                "gain": gain,
                **links(run.folder, out, sources),
            }


def missing_row(run: MissingRun, out: Path, sources: Sources) -> dict[str, Any]:
    """The entry of a run without a result, as `run_rows` gives those with one."""
    seeds = run.seeds[0] if run.seeds else ""
    return {"words": run.words, "seed": seeds, "status": run.reason, **links(run.folder, out, sources)}


def _seed_in_words(run: Run) -> str:
    seed = run.seeds[0] if run.seeds[1] == "0" else f"{run.seeds[0]}, data {run.seeds[1]}"
    return seed if run.fold is None else f"{seed}, fold {run.fold}"


def links(folder: Path, out: Path, sources: Sources) -> dict[str, str | None]:
    """The folder of a run, and links to its page and its log, where these are there."""
    relative = sources.relative(folder, out)
    href = quote(os.fsencode(relative))
    log = next((name for name in (CONSOLE, LOG) if sources.has(folder, name)), "")
    return {
        "folder": relative,
        "href": href,
        "link": f"{href}/{PAGE}" if sources.has(folder, PAGE) else None,
        "log": log,
        "log_link": f"{href}/{log}" if log else None,
    }


def _ten_thousandths(share: float | None) -> int | None:
    return None if share is None else round(10_000 * share)


def is_large(leaderboard: Leaderboard) -> bool:
    """True where the page has so many runs that it is interactive."""
    return len(leaderboard.runs) + len(leaderboard.missing) > MANY_RUNS
