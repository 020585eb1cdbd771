"""The leaderboard of runs: groups over seeds, ranked, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group
from kd_runner.comparison.statistics import interval
from kd_runner.errors import SettingsError
from kd_runner.files.results import MissingRun, Run, find_runs
from kd_runner.plain_text import markdown_text
from kd_runner.reports.formats import _count, _percent
from kd_runner.reports.shared_notes import note_lines
from kd_runner.reports.verdict import MOST_HALF_WIDTH, Verdict, verdict
from kd_runner.terminal import TextColumn, fold_text, nats, table_lines

NAME = "leaderboard"
MOST_RANKS = 8  # that are named where there are more
TOO_FEW = "too few to tell"
MOST_LINES = 10  # about parts of results that are left out


COLUMNS = (
    "rank", "settings", "n", "test_accuracy", "sd", "ci95", "val_accuracy", "test_accuracy_at_best_val", "gain",
    "gain_sd", "gain_low", "gain_high", "gain_p", "gap_closed", "gap_note", "teacher", "baseline", "agreement", "nll",
    "ece", "parameters", "macs", "images_seen", "seconds", "reference", "difference", "difference_low",
    "difference_high", "p",
)  # fmt: skip


def rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """The leaderboard's rows: means over a group's runs, None for what there is none of.

    `test_accuracy`, `teacher`, `baseline`, `gain`, `agreement`, `nll` and `ece` are of the test images, after the last
    epoch; `sd` and `ci95`, half the width of Student's 95 % interval, are of `test_accuracy` over seeds.
    `val_accuracy` is the student's best on the validation images over its epochs, which is what to choose by, and
    `test_accuracy_at_best_val` is on the test images at that epoch. `gap_closed` is the share of
    `kd_runner.comparison.gap`, and `gap_note` says why there is none. Accuracies are in [0, 1], `seconds` are those of
    the student's stage.
    """

    for rank, group in enumerate(groups, 1):
        yield {"rank": rank, "settings": group.name, **_accuracies(group), **_gains(group), **_means(group)} | {
            "reference": group.against.get("name"),
            "difference": group.against.get("difference"),
            "difference_low": group.against.get("low"),
            "difference_high": group.against.get("high"),
            "p": group.against.get("p"),
        }


def _accuracies(group: Group) -> dict[str, Any]:
    """The accuracies of a group's students."""
    half = interval(group.accuracies)
    return {
        "n": len(group.accuracies),
        "test_accuracy": _mean(group.accuracies),
        "sd": _deviation(group.accuracies),
        "ci95": None if np.isnan(half) else half,
        "val_accuracy": _mean(group.values("student", "best_val", "val_accuracy")),
        "test_accuracy_at_best_val": _mean(group.values("student", "best_val", "accuracy")),
    }


def _gains(group: Group) -> dict[str, Any]:
    """The gains of a group's students over their baselines, and the share of the gap that they close."""
    gain, gap = group.gain, group.gap
    return {
        "gain": _mean(group.gains),
        "gain_sd": _deviation(group.gains),
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "gain_p": gain and gain.p,
        "gap_closed": gap and gap.share,
        "gap_note": gap and gap.reason,
    }


def _means(group: Group) -> dict[str, float | None]:
    """The means of numbers that stand in a group's results as they are."""
    keys = {name: ("student", name) for name in ("agreement", "nll", "ece", "parameters", "macs", "images_seen")}
    keys |= {stage: (stage, "accuracy") for stage in ("teacher", "baseline")} | {"seconds": ("seconds", "student")}
    return {name: _mean(group.values(*path)) for name, path in keys.items()}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _accuracy(row: Mapping[str, Any]) -> str:
    return _percent(row["test_accuracy"]) + ("" if row["sd"] is None else f" ± {_percent(row['sd'])}")


def _interval(row: Mapping[str, Any]) -> str:
    """The 95 % interval of the accuracy, which is of no number outside of 0 to 100 %."""
    if row["ci95"] is None:
        return ""
    if row["ci95"] > MOST_HALF_WIDTH:
        return TOO_FEW
    low, high = (min(1.0, max(0.0, row["test_accuracy"] + half)) for half in (-row["ci95"], row["ci95"]))
    return f"{_percent(low)} to {_percent(high)}"


def _gain(row: Mapping[str, Any]) -> str:
    if row["gain"] is None:
        return ""
    return f"{100 * row['gain']:+.2f}" + ("" if row["gain_sd"] is None else f" ± {_percent(row['gain_sd'])}")


def _share(row: Mapping[str, Any]) -> str:
    """The share of the gap that was closed, a dash where `gap_note` says why there is none."""
    if row["gap_closed"] is None:
        return "–" if row["gap_note"] else ""
    return f"{100 * row['gap_closed']:.0f} %"


def _against(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return ""
    difference, low, high = (f"{100 * row[name]:+.2f}" for name in ("difference", "difference_low", "difference_high"))
    return f"{difference} [{low}, {high}] p={row['p']:.2g}"


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard for people, in percent and points.

    Args:
        key: The key of a row's value, by which the page sorts.
        text: The text of a row; empty where there is nothing to say.
        keep: A number; where not all columns fit, those with the least go first.
    """

    heading: str
    key: str
    text: Callable[[Mapping[str, Any]], str]
    keep: int = 100


SHOWN = (
    Column("", "rank", lambda row: str(row["rank"])),
    Column("settings", "settings", lambda row: row["settings"]),
    Column("n", "n", lambda row: str(row["n"]), 8),
    Column("test accuracy, %", "test_accuracy", _accuracy),
    Column("95 %", "ci95", _interval, 5),
    Column("gain, points", "gain", _gain, 9),
    Column("p", "gain_p", lambda row: "" if row["gain_p"] is None else f"{row['gain_p']:.2g}", 7),
    Column("gap closed", "gap_closed", _share, 4),
    Column("val accuracy, %", "val_accuracy", lambda row: _percent(row["val_accuracy"]), 3),
    Column("agreement", "agreement", lambda row: _percent(row["agreement"]), 3),
    Column("NLL", "nll", lambda row: "" if row["nll"] is None else nats(row["nll"]), 2),
    Column("parameters", "parameters", lambda row: _count(row["parameters"]), 6),
    Column("images seen", "images_seen", lambda row: _count(row["images_seen"]), 0),
    Column("seconds", "seconds", lambda row: _count(row["seconds"]), 1),
    Column("against the reference, points", "difference", _against, 10),
)


@dataclass(frozen=True)
class Leaderboard:
    """Groups, best first, the runs without a result, and the verdict that the groups give together."""

    groups: list[Group]
    missing: list[MissingRun]
    rows: list[dict[str, Any]]
    answer: Verdict

    @property
    def columns(self) -> list[Column]:
        """The columns that are not empty throughout."""
        return [column for column in SHOWN if any(column.text(row) for row in self.rows)]

    @property
    def note(self) -> str:
        """The meaning of the columns, in sentences."""
        compared = any(row["difference"] is not None for row in self.rows)
        return " ".join([NOTE, *([REFERENCE_NOTE] if compared else []), *self.gap_notes])

    @property
    def gap_notes(self) -> list[str]:
        """The reasons why rows have no share of a gap, with the ranks of the rows; empty where all have one."""
        ranks: dict[str, list[int]] = {}
        for rank, group in enumerate(self.groups, 1):
            if group.gap is not None and group.gap.kind:
                ranks.setdefault(group.gap.kind, []).append(rank)
        reasons = [f"{kind} (row {_some(numbers)})" for kind, numbers in ranks.items()]
        return [f"Gap closed is no number (–) where {'; where '.join(reasons)}."] if reasons else []

    @property
    def left_out(self) -> list[str]:
        """A line for each run with a result whose parts are not all used."""
        return [f"{run.folder}: {run.left_out}" for run in self.runs if run.left_out]

    @property
    def runs(self) -> list[Run]:
        """The runs with a result, those of the best group first."""
        return [run for group in self.groups for run in group.runs]


def _some(numbers: Sequence[int]) -> str:
    """Numbers in words, the first of many."""
    more = f" and {len(numbers) - MOST_RANKS} more" if len(numbers) > MOST_RANKS else ""
    return ", ".join(map(str, numbers[:MOST_RANKS])) + more


def leaderboard_of(folders: Sequence[Path], reference: str | None = None) -> Leaderboard:
    """The leaderboard of all runs under `folders`.

    Raises:
        SettingsError: no such folder, no run in any of them, or no such reference.
    """
    runs, missing = find_runs(folders)
    if not runs and not missing:
        raise SettingsError(f"no run of kd-runner in {', '.join(map(str, folders))}")
    groups = compared_groups(runs, reference)
    return Leaderboard(groups, missing, list(rows(groups)), verdict(groups))


def terminal(board: Leaderboard, width: int | None) -> str:
    """The leaderboard as text, with as many of its columns as fit into `width`; None: with all of them, unwrapped."""
    texts = [
        TextColumn(column.heading, [column.text(row) for row in board.rows], column.keep, column.key == "settings")
        for column in board.columns
    ]
    lines, left_out = table_lines(texts, width)
    if left_out:
        lines.append(fold_text(f"No room for {', '.join(left_out)}: see {NAME}.csv.", width))
    lines += ["", fold_text(str(board.answer), width)]
    lines += [fold_text(note, width) for note in board.gap_notes]
    lines += [fold_text(line, width) for line in some_lines(board.left_out)]
    lines += [fold_text(f"no result: {run.folder} ({run.words}): {run.reason}", width) for run in board.missing]
    notes = note_lines(board.runs)
    lines += ["", "Notes:", *(fold_text(f"- {line}", width) for line in notes)] if notes else []
    return "\n".join(lines)


def markdown(board: Leaderboard) -> str:
    """The verdict, and the leaderboard as a Markdown table."""
    headings = [column.heading for column in board.columns]
    text = [markdown_text(board.answer), ""]
    if board.rows:
        text += [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for row in board.rows:
        cells = [markdown_text(" ".join(column.text(row).split())) for column in board.columns]
        text.append(f"| {' | '.join(cells)} |")
    notes = note_lines(board.runs)
    text += ["", "Notes:", "", *(f"- {markdown_text(line)}" for line in notes)] if notes else []
    if board.missing:
        text += ["", "Runs without a result:", ""]
        text += [f"- {markdown_text(f'{run.folder} ({run.words}): {run.reason}')}" for run in board.missing]
    if board.left_out:
        text += [
            "",
            "Results that are not used whole:",
            "",
            *(f"- {markdown_text(line)}" for line in some_lines(board.left_out)),
        ]
    return "\n".join([*text, "", board.note, ""])


def some_lines(lines: Sequence[str]) -> list[str]:
    """The first lines of many, and how many more there are."""
    more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return [*lines[:MOST_LINES], *more]


NOTE = (
    "Test accuracy: of the student on the test images after its last epoch, mean ± standard deviation over seeds. "
    "95 %: the interval of the mean over seeds (Student's t), as far as it is between 0 and 100 %; too few to tell "
    "where it is wider than that. Gain: student less baseline, on the test images. p: of a gain this far from none by "
    "chance, by a paired t-test over seeds, of one seed by McNemar's test over test images; not corrected for how many "
    "rows there are. Gap closed: the gain as a share of what the teacher has over the baseline. Val accuracy: the "
    "student's best on the validation images over its epochs, which is what to choose by. Agreement (with the teacher) "
    "and NLL: on the test images."
)
REFERENCE_NOTE = (
    "Against the reference: difference on common seeds with its 95 % bootstrap interval over test images, and the p of "
    "an exact sign test over images (McNemar's, of one seed). Neither knows of the spread between seeds, nor of how "
    "many rows were compared."
)
