"""The leaderboard of runs: groups over seeds, ranked, for people and for programs."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_runner.comparison.equal_settings import Differing
from kd_runner.comparison.fold_samples import sample_of
from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group
from kd_runner.comparison.statistics import deviation_of, interval
from kd_runner.errors import SettingsError
from kd_runner.files.results import BEFORE_EPOCHS, MissingRun, Run, all_runs, is_at_work, latest_runs
from kd_runner.files.run_folder import LOCK, STUDENT_LAST, holds_a_run
from kd_runner.files.scores import ScoreWords, has_map, words_of_all
from kd_runner.formats import bare_percent, count, four_digits, number_of, percent, points, three_digits, times
from kd_runner.plain_text import markdown_text, printable
from kd_runner.reports.cost_table import FASTER, FEWER, Words, beside
from kd_runner.reports.name_tags_notes import described_rows
from kd_runner.reports.replaceable import TABLE
from kd_runner.reports.report_sources import Sources
from kd_runner.reports.row_notes import first_ranks, note_on_repeated, row_notes
from kd_runner.reports.search_record import Search, searches_in
from kd_runner.reports.shared_notes import SharedNote, note_lines, shared_notes
from kd_runner.reports.verdict import MOST_HALF_WIDTH, Verdict, verdict_of
from kd_runner.terminal import PIPED, TextColumn, fold_text, table_lines

NAME = TABLE
MOST_KEYS = 5  # settings that a sentence names
TOO_FEW = "too few to tell"
MOST_LINES = 10  # lines about parts of results that are left out
MOST_ROWS = 60  # rows of the table in a terminal
MOST_MISSING = 40  # lines about runs without a result in a terminal


COLUMNS = (
    "rank", "settings", "n", "n_planned", "val_accuracy", "test_accuracy", "sd", "ci95", "test_accuracy_at_best_val",
    "gain", "gain_sd", "gain_low", "gain_high", "gain_p", "gain_low_corrected", "gain_high_corrected",
    "gain_p_corrected", "gap_closed", "gap_note", "teacher", "baseline", "agreement", "nll", "ece", "parameters",
    "macs", "file_bytes", "latency", "teacher_parameters", "teacher_macs", "teacher_latency", "images_seen",
    "times_baseline", "seconds", "reference", "difference", "difference_low", "difference_high",
    "p", "nll_scaled", "ece_scaled", "corruption_accuracy", "baseline_corruption_accuracy", "corruption_error",
    "pgd_accuracy", "baseline_pgd_accuracy", "balanced_accuracy", "brier", "auroc", "average_precision",
    "name", "notes", "seeds_compared", "data_set",
)  # fmt: skip


def rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """The leaderboard's rows: means over a group's runs, or over its folds; None for a number that no run has.

    `val_accuracy` is the student's best on the validation images over its epochs, by which rows are ranked, and
    `test_accuracy_at_best_val` is on the test images at that epoch. `test_accuracy`, `teacher`, `baseline`, `gain`,
    `agreement`, `nll` and `ece` are of the test images, after the last epoch; `sd` and `ci95`, half the width of
    Student's 95 % interval, are of `test_accuracy` over seeds. `n` runs of the `n_planned` that were begun or planned
    have a result. `gain_p` is of one row alone, `gain_p_corrected` Holm's for all rows with a teacher; each has an
    interval that agrees with it; rows of the same students count once. `difference` and what follows it are corrected
    for all rows, `difference_low` and `difference_high` are within [-1, 1], and `seeds_compared` is the number of seeds
    that a row has in common with the reference, of a cross-validation that of folds. `rank` numbers all rows, also
    where they are of several data sets; `data_set` is None where they are of one. `gap_closed` is the share
    of `kd_runner.comparison.gap`, and `gap_note` says why there is none. Accuracies are in [0, 1], `seconds` are those
    of the student's stage, `times_baseline` its training's multiply-accumulates, its teacher's passes included, divided
    by those of the baseline's, `latency` seconds of one image on the run's device. `nll_scaled` and `ece_scaled` are
    after temperature scaling, `corruption_accuracy` and the baseline's are means over 15 corruptions at 5 severities,
    and `corruption_error` is the student's mean corruption error as a share of the baseline's.
    `pgd_accuracy` and the baseline's are for attacked test images. `balanced_accuracy`, `brier`, and of two classes
    `auroc` and `average_precision`, are the student's on the test images after the last epoch.
    """
    for rank, group in enumerate(groups, 1):
        against = group.against
        yield {"rank": rank, "settings": group.name, **_accuracies(group), **_gains(group), **_means(group)} | {
            "reference": group.reference or None,
            "difference": against and against.mean,
            "difference_low": None if against is None or against.low is None else max(-1.0, against.low),
            "difference_high": None if against is None or against.high is None else min(1.0, against.high),
            "p": against and against.p,
            "seeds_compared": against and against.seeds,
            "data_set": group.data_set or None,
            **described_rows(group.runs),
        }


def _accuracies(group: Group) -> dict[str, Any]:
    """The accuracies of a group's students, and the 95 % interval of their mean."""
    sample = sample_of(group.runs, group.accuracies) if len(group.accuracies) == len(group.runs) else None
    half_width = float("nan") if sample is None else interval(sample.values) * sample.widening
    return {
        "n": len(group.accuracies),
        "n_planned": max(group.planned, len(group.accuracies)),
        "val_accuracy": group.mean("student", "best_val", "val_accuracy"),
        "test_accuracy": group.mean("student", "accuracy"),
        "sd": _deviation(group.accuracies),
        "ci95": None if np.isnan(half_width) else half_width,
        "test_accuracy_at_best_val": group.mean("student", "best_val", "accuracy"),
    }


def _gains(group: Group) -> dict[str, Any]:
    """The gains of a group's students over their baselines, and the share of the gap that they close."""
    gain, corrected, gap = group.gain, group.corrected, group.gap
    return {
        "gain": gain and gain.mean,
        "gain_sd": _deviation(group.gains),
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "gain_p": gain and gain.p,
        "gain_low_corrected": corrected and corrected.low,
        "gain_high_corrected": corrected and corrected.high,
        "gain_p_corrected": corrected and corrected.p,
        "gap_closed": gap and gap.share,
        "gap_note": gap and gap.reason,
    }


def _means(group: Group) -> dict[str, float | None]:
    """The means of numbers that are in the results of a group's runs."""
    of_student = ("agreement", "nll", "ece", "parameters", "macs", "file_bytes", "latency", "images_seen")
    keys: dict[str, tuple[str, ...]] = {name: ("student", name) for name in of_student}
    keys |= {f"teacher_{name}": ("teacher", name) for name in ("parameters", "macs", "latency")}
    keys |= {stage: (stage, "accuracy") for stage in ("teacher", "baseline")}
    keys |= {"pgd_accuracy": ("student", "pgd_accuracy"), "baseline_pgd_accuracy": ("baseline", "pgd_accuracy")}
    keys |= {f"{name}_scaled": ("student", "calibrated", name) for name in ("nll", "ece")}
    keys |= {name: ("student", name) for name in ("balanced_accuracy", "brier", "auroc", "average_precision")}
    keys |= {"corruption_accuracy": ("student", "corruptions", "accuracy")}
    keys |= {"baseline_corruption_accuracy": ("baseline", "corruptions", "accuracy")}
    keys |= {"corruption_error": ("student", "corruptions", "error_beside_baseline")}
    keys |= {"seconds": ("seconds", "student"), "times_baseline": ("budget", "times_baseline")}
    return {name: group.mean(*path) for name, path in keys.items()}


def _deviation(values: np.ndarray) -> float | None:
    return deviation_of(values) if len(values) > 1 else None


def _accuracy(row: Mapping[str, Any]) -> str:
    return bare_percent(row["test_accuracy"], "") + ("" if row["sd"] is None else f" ± {bare_percent(row['sd'])}")


def _interval(row: Mapping[str, Any]) -> str:
    """The text of the accuracy's 95 % interval, cut off at 0 and 100 %."""
    if row["ci95"] is None:
        return ""
    if row["ci95"] > MOST_HALF_WIDTH:
        return TOO_FEW
    low, high = (min(1.0, max(0.0, row["test_accuracy"] + half)) for half in (-row["ci95"], row["ci95"]))
    return f"{bare_percent(low)} to {bare_percent(high)}"


def _seeds(row: Mapping[str, Any]) -> str:
    """The number of runs with a result; of how many, where some have none."""
    return f"{row['n']} of {row['n_planned']}" if row["n"] < row["n_planned"] else str(row["n"])


def _p(row: Mapping[str, Any]) -> str:
    return "" if row["gain_p_corrected"] is None else f"{row['gain_p_corrected']:.2g}"


def _gain(row: Mapping[str, Any]) -> str:
    if row["gain"] is None:
        return ""
    return points(row["gain"]) + ("" if row["gain_sd"] is None else f" ± {bare_percent(row['gain_sd'])}")


def _gap_closed(row: Mapping[str, Any]) -> str:
    """The text of the share of the gap that was closed; a dash where `gap_note` says why there is none."""
    if row["gap_closed"] is None:
        return "–" if row["gap_note"] else ""
    return percent(row["gap_closed"], 0)


def _difference(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return ""
    difference, low, high = (points(row[name]) for name in ("difference", "difference_low", "difference_high"))
    n = f"n={row['seeds_compared']}"
    if row["p"] is None:
        return f"{difference} {n}"
    return f"{difference} [{low}, {high}] p={row['p']:.2g} {n}"


def _beside_teacher(row: Mapping[str, Any], key: str, words: Words) -> str:
    """A number of the student beside its teacher's in words, such as '4.1 times fewer'."""
    return beside(row[key], row[f"teacher_{key}"], words)


def _baseline_under_attack(row: Mapping[str, Any]) -> str:
    return bare_percent(row["baseline_pgd_accuracy"], "")


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else three_digits(1000 * seconds)


def _corruption_error(row: Mapping[str, Any]) -> str:
    return "" if row["corruption_error"] is None else three_digits(row["corruption_error"])


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard for people, in percent and points.

    Args:
        key: The key of a row's value, by which the page sorts.
        text: A function that gives the cell of a row; an empty text where the row has no such number.
        keep: Its rank; where not all columns fit, the one with the lowest rank is left out first.
    """

    heading: str
    key: str
    text: Callable[[Mapping[str, Any]], str]
    keep: int = 100


SHOWN = (
    Column("", "rank", lambda row: str(row["rank"])),
    Column("data set", "data_set", lambda row: row["data_set"] or "", 12),
    Column("settings", "settings", lambda row: row["settings"]),
    Column("name", "name", lambda row: row["name"] or "", 8),
    Column("n", "n", _seeds, 8),
    Column("val accuracy, %", "val_accuracy", lambda row: bare_percent(row["val_accuracy"], ""), 100),
    Column("test accuracy, %", "test_accuracy", _accuracy),
    Column("PGD-20, %", "pgd_accuracy", lambda row: bare_percent(row["pgd_accuracy"], ""), 9),
    Column("baseline's PGD-20, %", "baseline_pgd_accuracy", _baseline_under_attack, 4),
    Column("95 %", "ci95", _interval, 5),
    Column("gain, points", "gain", _gain, 9),
    Column("p", "gain_p_corrected", _p, 7),
    Column("gap closed", "gap_closed", _gap_closed, 4),
    Column("agreement", "agreement", lambda row: bare_percent(row["agreement"], ""), 3),
    Column("NLL", "nll", lambda row: four_digits(row["nll"], ""), 2),
    Column("AUROC", "auroc", lambda row: four_digits(row["auroc"], ""), 6),
    Column("under corruptions, %", "corruption_accuracy", lambda row: bare_percent(row["corruption_accuracy"], ""), 6),
    Column("corruption error, × baseline's", "corruption_error", _corruption_error, 3),
    Column("parameters", "parameters", lambda row: count(row["parameters"], ""), 6),
    Column("size beside the teacher", "parameters", lambda row: _beside_teacher(row, "parameters", FEWER), 3),
    Column("one image, ms", "latency", lambda row: _milliseconds(row["latency"]), 1),
    Column("speed beside the teacher", "latency", lambda row: _beside_teacher(row, "latency", FASTER), 0),
    Column("images seen", "images_seen", lambda row: count(row["images_seen"], ""), 0),
    Column("compute, × baseline's", "times_baseline", lambda row: times(row["times_baseline"]), 2),
    Column("seconds", "seconds", lambda row: count(row["seconds"], ""), 1),
    Column("against the reference, points", "difference", _difference, 10),
    Column("notes", "notes", lambda row: row["notes"] or "", 2),
)


TEXTS = ("settings", "data_set", "name", "notes")  # columns of text


@dataclass(frozen=True)
class Leaderboard:
    """Groups in their order, their rows, the runs without a result, and the verdict on all groups.

    Args:
        searches: The searches that the runs are trials of.
        faults: A line for each record of a search that cannot be shown.
        repeated: A sentence on the runs that are not counted, as others of the same settings and seeds are.
    """

    groups: list[Group]
    missing: list[MissingRun]
    rows: list[dict[str, Any]]
    verdict: Verdict
    searches: list[Search] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @functools.cached_property
    def columns(self) -> list[Column]:
        """The columns that have a text in any row."""
        words = self.words
        shown = [column for column in SHOWN if any(column.text(row) for row in self.rows)]
        return [replace(column, heading=words.instead(column.heading)) for column in shown]

    @functools.cached_property
    def words(self) -> ScoreWords:
        """The words for the score of the runs."""
        return words_of_all(run.result for run in self.runs)

    @property
    def note(self) -> str:
        """The meaning of the columns, in sentences."""
        compared = any(row["difference"] is not None for row in self.rows)
        folds = [FOLDS_NOTE] if any(group.has_folds for group in self.groups) else []
        about_columns = [self.words.instead(NOTE), *([REFERENCE_NOTE] if compared else [])]
        return " ".join([*about_columns, *folds, *self.gap_notes, *self.order_notes])

    @functools.cached_property
    def order_notes(self) -> list[str]:
        """Sentences on the order of rows: what is not ranked by accuracy, and what cannot be compared by it."""
        ranked = list(enumerate(self.groups, 1))
        incomplete = [rank for rank, group in ranked if group.lacking]
        unknown = [rank for rank, group in ranked if not group.lacking and group.val_accuracy is None]
        notes = [*row_notes(self.groups), *self._notes_of_equal_overrides(), *self.repeated]
        if unknown:
            notes.append(
                "Rows without an accuracy on validation images are in the order of their test accuracy, by which none "
                f"should be chosen ({first_ranks(unknown)})."
            )
        if incomplete:
            notes.append(
                f"Rows that lack the results of some seeds stand below complete ones ({first_ranks(incomplete)})."
            )
        return [self.words.instead(text) for text in notes]

    def _notes_of_equal_overrides(self) -> list[str]:
        """Sentences on rows whose overrides are the same, and whose settings are not."""
        ranks: dict[Differing, list[int]] = {}
        for rank, group in enumerate(self.groups, 1):
            for differing in group.differing:
                ranks.setdefault(differing, []).append(rank)
        sentences = [
            f"The same overrides led to different settings ({first_ranks(numbers)}): {_first_keys(keys)}."
            for (_, keys), numbers in ranks.items()
        ]
        return list(dict.fromkeys(sentences))  # rows of which several overrides led to each

    @functools.cached_property
    def gap_notes(self) -> list[str]:
        """The reasons why rows have no share of a gap, with the ranks of the rows; empty where all have one."""
        ranks: dict[str, list[int]] = {}
        for rank, group in enumerate(self.groups, 1):
            if group.gap is not None and group.gap.kind:
                ranks.setdefault(group.gap.kind, []).append(rank)
        reasons = [f"{kind} ({first_ranks(numbers)})" for kind, numbers in ranks.items()]
        return [f"Gap closed is no number (–) where {'; where '.join(reasons)}."] if reasons else []

    @functools.cached_property
    def left_out(self) -> list[str]:
        """A line for each run with a result of which a part was left out."""
        return [*(f"{run.folder}: {run.left_out}" for run in self.runs if run.left_out), *self.faults]

    @functools.cached_property
    def runs(self) -> list[Run]:
        """The runs with a result, those of the best group first."""
        return [run for group in self.groups for run in group.runs]

    @functools.cached_property
    def to_use(self) -> tuple[str, str] | None:
        """A sentence on which student of the first row is best on the validation images, and a command that uses it.

        None where a search has its own choice, where there are several data sets, where each run of the row saw a part
        of the images (folds), where the students are surely worse than their baselines
        or have not learned, where the results do not say
        how right they are on the validation images, and where the student is not there.
        """
        first = self.groups[0] if self.groups else None
        if (
            first is None
            or self.searches
            or first.data_set
            or first.has_folds
            or (first.taught and self.verdict.word in ("cost", "unlearned"))
        ):
            return None
        scores = [run.result["student"].get("val_map" if has_map(run.result) else "val_accuracy") for run in first.runs]
        known = [score for score in scores if score is not None]
        if not known or len(known) < len(scores):
            return None
        best = max(known)
        folder = first.runs[scores.index(best)].folder
        if not os.path.exists(folder / STUDENT_LAST):  # noqa: PTH110 (as of results that were copied alone)
            return None
        name = str(folder) if not str(folder).startswith("-") else f"./{folder}"
        which = "The first row's student" if len(known) == 1 else f"Of the first row's {len(known)} students, the best"
        text = f"{which} has {percent(best)} on the validation images after its last epoch; to use it:"
        return self.words.instead(text), f"kd-predict {shlex.quote(name)} PICTURE"

    @functools.cached_property
    def notes(self) -> list[SharedNote]:
        """The notes of the runs with a result."""
        return shared_notes(self.runs)


def _first_keys(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
    return f"{', '.join(keys[:MOST_KEYS])}{more}"


def _state_of_begun(folder: Path) -> str:
    """The state of a run or a sweep that has begun and has no settings or list of jobs yet."""
    if is_at_work(folder):
        return f"its run is {BEFORE_EPOCHS}"
    if is_at_work(folder, LOCK):
        return "the jobs of its sweep are being checked"
    return f"kd-runner {shlex.quote(f'resume={folder}')} begins its run, where that was stopped"


def leaderboard_of(
    folders: Sequence[Path], reference: str | None = None, sources: Sources | None = None
) -> Leaderboard:
    """The leaderboard of all runs under `folders`.

    Args:
        sources: The names below the folders, where they are known.

    Raises:
        SettingsError: no such folder, no run in any of them, or no such reference.
    """
    sources = sources or Sources.of(folders)
    runs, missing = all_runs(folders, sources.trees, sources.cache)
    if not runs and not missing:
        begun = next((folder for folder in folders if holds_a_run(folder)), None)
        if begun is not None:
            raise SettingsError(f"{begun} has no result yet: {_state_of_begun(begun)}")
        raise SettingsError(f"no run of kd-runner in {', '.join(map(str, folders))}")
    groups = compared_groups(latest_runs(runs), reference, missing)
    searches, faults = searches_in(folders, runs)
    repeated = note_on_repeated(runs, [run for group in groups for run in group.runs])
    return Leaderboard(groups, missing, list(rows(groups)), verdict_of(groups), searches, faults, repeated)


def terminal_text(leaderboard: Leaderboard, width: int | None, with_commands: bool = True) -> str:
    """The leaderboard as text, with the columns that fit into `width`; None where there is no terminal.

    Args:
        with_commands: False to leave out the commands of the trials that searches chose.
    """
    shown_rows = leaderboard.rows[:MOST_ROWS]
    texts = [
        TextColumn(column.heading, list(map(column.text, shown_rows)), column.keep, column.key in TEXTS)
        for column in leaderboard.columns
    ]
    lines = []
    for search in leaderboard.searches:
        lines += [fold_text(line, width) for line in search.lines()]
        commands = search.commands if with_commands else []
        lines += ["", *(printable(line) for line in commands), *([""] if commands else [])]  # not folded, to be copied
    table, left_out = table_lines(texts, width or PIPED)
    lines += table
    if len(shown_rows) < len(leaderboard.rows):
        lines.append(f"And {number_of(len(leaderboard.rows) - len(shown_rows), 'more row')}: see {NAME}.csv.")
    if left_out:
        lines.append(fold_text(f"No room for {'; '.join(left_out)}: see {NAME}.csv.", width))
    lines += ["", fold_text(str(leaderboard.verdict), width)]
    if leaderboard.to_use is not None:
        sentence, command = leaderboard.to_use
        lines += [fold_text(sentence, width), f"    {printable(command)}"]  # not folded, to be copied
    lines += [fold_text(note, width) for note in [*leaderboard.gap_notes, *leaderboard.order_notes]]
    lines += [fold_text(line, width) for line in first_lines(leaderboard.left_out)]
    missing = leaderboard.missing
    lines += [
        fold_text(f"no result: {run.folder} ({run.words}): {run.reason}", width) for run in missing[:MOST_MISSING]
    ]
    if len(missing) > MOST_MISSING:
        lines.append(f"and {len(missing) - MOST_MISSING:,} more without a result: see {NAME}.md.")
    notes = note_lines(leaderboard.notes)
    lines += ["", "Notes:", *(fold_text(f"- {line}", width) for line in notes)] if notes else []
    return "\n".join(lines)


def markdown(leaderboard: Leaderboard) -> str:
    """The verdict, and the leaderboard as a Markdown table."""
    columns = leaderboard.columns
    headings = [column.heading for column in columns]
    text = []
    for search in leaderboard.searches:
        text += [part for line in search.lines() for part in (markdown_text(line), "")]
        text += [part for line in search.commands for part in (f"    {printable(line)}", "")]
    text += [markdown_text(leaderboard.verdict), ""]
    if leaderboard.to_use is not None:
        sentence, command = leaderboard.to_use
        text += [markdown_text(sentence), "", f"    {printable(command)}", ""]
    if leaderboard.rows:
        text += [f"| {' | '.join(headings)} |", "|" + " --- |" * len(headings)]
    for row in leaderboard.rows:
        cells = [markdown_text(" ".join(column.text(row).split())) for column in columns]
        text.append(f"| {' | '.join(cells)} |")
    notes = note_lines(leaderboard.notes)
    text += ["", "Notes:", "", *(f"- {markdown_text(line)}" for line in notes)] if notes else []
    if leaderboard.missing:
        text += ["", "Runs without a result:", ""]
        text += [f"- {markdown_text(f'{run.folder} ({run.words}): {run.reason}')}" for run in leaderboard.missing]
    if leaderboard.left_out:
        text += [
            "",
            "Results that are not used whole:",
            "",
            *(f"- {markdown_text(line)}" for line in first_lines(leaderboard.left_out)),
        ]
    return "\n".join([*text, "", f"{leaderboard.note} {COMPUTE_NOTE}", ""])


def first_lines(lines: Sequence[str]) -> list[str]:
    """The first lines, and one more with the number of the others."""
    more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return [*lines[:MOST_LINES], *more]


NOTE = (
    "Rows are ranked by val accuracy: the student's best on the validation images over its epochs. Test accuracy: of "
    "the student on the test images after its last epoch, mean ± standard deviation over seeds. 95 %: the interval of "
    "the mean over seeds (Student's t), as far as it is between 0 and 100 %; too few to tell where it is wider than "
    "that. Gain: student less baseline, on the test images. p: of a gain this far from none by chance, by a paired "
    "t-test over seeds, of one seed by McNemar's test over test images; with Holm's correction for all rows with a "
    "teacher. Gap closed: the gain as a share of what the teacher has over the baseline. Agreement (with the teacher) "
    "and NLL: on the test images."
)
COMPUTE_NOTE = (
    "Compute: multiply-accumulates of the student's training, its teacher's passes included, as a multiple of the "
    "baseline's."
)
FOLDS_NOTE = (
    "Rows of a cross-validation (folds): n and the standard deviation are of all its runs. Its means, its interval and "
    "its p are over folds, each the mean over its seeds; interval and p are widened for the training images that folds "
    "share (Nadeau and Bengio 2003)."
)
REFERENCE_NOTE = (
    "Against the reference: difference on the n seeds that both rows have, its 95 % interval, as far as it is between "
    "-100 and 100 points, and its p, by a paired t-test over seeds, of one seed by McNemar's test over test images; "
    "with Holm's correction for all rows."
)
