"""A search in a report: the trial that it chose by the validation images, its trials, and what its keys count for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kd_runner.charts.search_chart import search_chart
from kd_runner.charts.svg import Chart
from kd_runner.files import result_schema, tolerant_json
from kd_runner.files.results import Run
from kd_runner.files.run_folder import SEARCH
from kd_runner.files.tolerant_json import usable_number
from kd_runner.formats import UNKNOWN, count, number_of, percent
from kd_runner.reports.provenance import run_command

NEEDED = {"trials", "best", "planned", "objectives", "history"}  # keys without which a search is not shown
OTHER_SEED = re.compile(r"(.+)_seed\d+", re.S)  # the folder of a trial's run with another seed than its first
MOST_BEST = 5  # trials of a front that a terminal names


@dataclass(frozen=True)
class Search:
    """A search, as its search.json tells.

    Args:
        folder: The folder of the search.
        record: The content of its search.json.
        tested: The accuracy on the test images, after the last epoch, of the runs with a result, by their folders.
        other_seeds: The same accuracy of runs with other seeds than a trial's first, by the folder of the first.
        config_dirs: The folder of a person's own options of the runs that had one, by their folders.
    """

    folder: Path
    record: Mapping[str, Any]
    tested: Mapping[Path, float]
    other_seeds: Mapping[Path, Sequence[float]]
    config_dirs: Mapping[Path, str]

    @property
    def objectives(self) -> list[Mapping[str, str]]:
        objectives: list[Mapping[str, str]] = self.record["objectives"]
        return objectives

    @property
    def best(self) -> list[Mapping[str, Any]]:
        best: list[Mapping[str, Any]] = self.record["best"]
        return best

    @property
    def headline(self) -> str:
        """The chosen trial and its objective; of several objectives, the number of trials in the front."""
        if not self.best:
            return "No trial has a result yet"
        if len(self.objectives) > 1:
            titles = " and ".join(objective["title"] for objective in self.objectives)
            return f"{number_of(len(self.best), 'trial')} that no other betters in {titles}"
        trial = self.best[0]
        return f"Trial {trial['number']} chosen: {self.values(trial)}"

    @property
    def sentences(self) -> list[str]:
        """The chosen trials in sentences: their settings, their test accuracy, and how many trials there were."""
        ended = self.record["trials"]
        other_ends = [
            f"{ended[name]} {word}" for name, word in (("pruned", "pruned"), ("fail", "failed")) if ended.get(name)
        ]
        completed, planned = ended.get("complete", 0), number_of(self.record["planned"], "trial")
        total = f"{completed} of {planned} {'was' if completed == 1 else 'were'} completed"
        sentences = [f"{', '.join([total, *other_ends])}."]
        if len(self.objectives) > 1:
            front = [f"trial {trial['number']} ({self.values(trial)})" for trial in self.best[:MOST_BEST]]
            more = f" and {len(self.best) - MOST_BEST} more" if len(self.best) > MOST_BEST else ""
            return [
                *sentences,
                *([f"{'It is' if len(self.best) == 1 else 'They are'} {'; '.join(front)}{more}."] if front else []),
            ]
        for trial in self.best:
            tested, runs = self.test_accuracy(trial), len(self.tested_runs(trial))
            over = f", the mean of {number_of(runs, 'seed')}" if trial.get("seeds") else ""
            test = f" Its test accuracy, which had no part in the choice, is {percent(tested)}{over}."
            test = "" if tested is None else test
            seeds = f", the mean of {number_of(trial['seeds'], 'seed')}" if trial.get("seeds") else ""
            sentences.insert(0, f"It has {' '.join(trial['overrides'])}{seeds}.{test}")
        sentences.append("The best of many trials was lucky on the validation images, too: other seeds will tell.")
        return sentences if self.best else sentences[:1]

    @property
    def importance_lines(self) -> list[str]:
        """Sentences on how much each key counts in each objective; or on why that is not known."""
        importances = self.record.get("importances") or {}
        if not importances:
            reason = self.record.get("no_importances")
            return [f"{reason[0].upper()}{reason[1:]}."] if reason else []
        lines = []
        for objective in self.objectives:
            shares = sorted((importances.get(objective["name"]) or {}).items(), key=lambda item: -item[1])
            text = ", ".join(f"{key} {percent(share, 0)}" for key, share in shares)
            lines.append(f"Of the spread of {objective['title']} between trials: {text}.")
        return lines

    def lines(self) -> list[str]:
        """The search in sentences, for a terminal and for Markdown: the chosen trial first."""
        return [f"{self.headline}. {' '.join(self.sentences)}", *self.importance_lines]

    @property
    def commands(self) -> list[str]:
        """The command of the chosen trial; none with several objectives."""
        # Made of words alone: search.json may be anyone's, and what it calls a command might be another program's.
        if len(self.objectives) > 1:
            return []
        folders = [self.config_dirs.get((self.folder / trial["folder"]).resolve()) for trial in self.best]
        return [
            run_command({"config_dir": folder, "overrides": trial["words"]})
            for folder, trial in zip(folders, self.best, strict=True)
        ]

    def values(self, trial: Mapping[str, Any]) -> str:
        """The objectives of a trial in words."""
        return ", ".join(
            f"{objective['title']} {self.value(trial, objective['name'])}" for objective in self.objectives
        )

    @staticmethod
    def value(trial: Mapping[str, Any], objective: str) -> str:
        """An objective's value as text; a dash for a trial without a result."""
        value = usable_number(trial.get(objective))
        if value is None:
            return UNKNOWN
        if objective == "accuracy":
            return percent(value)
        return f"{1000 * value:.3f} ms" if objective == "latency" else count(value)

    def tested_runs(self, trial: Mapping[str, Any]) -> Sequence[float]:
        """The accuracies of a trial's students on the test images after their last epochs: one for each seed."""
        folder = (self.folder / trial["folder"]).resolve()
        with_other_seeds = self.other_seeds.get(folder, ()) if trial.get("seeds") else ()
        return [*([self.tested[folder]] if folder in self.tested else []), *with_other_seeds]

    def test_accuracy(self, trial: Mapping[str, Any]) -> float | None:
        """The mean of them; None where no run has a result."""
        accuracies = self.tested_runs(trial)
        return fmean(accuracies) if accuracies else None

    @property
    def charts(self) -> list[tuple[str, Chart]]:
        """A title and a chart of the trials for each objective."""
        drawn = []
        for objective in self.objectives:
            name, is_single = objective["name"], len(self.objectives) == 1
            scale, unit = {"accuracy": (100.0, ", %"), "latency": (1000.0, ", ms")}.get(name, (1.0, ""))
            values = [_scale(trial.get(name), scale) for trial in self.record["history"]]
            best = [_scale(trial.get("best_so_far"), scale) if is_single else None for trial in self.record["history"]]
            picture = search_chart(values, best, f"{objective['title']} over the trials")
            if picture is not None:
                drawn.append((f"{objective['title']}{unit}", picture))
        return drawn

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row of the table for each trial: its number, objectives, test accuracy, status and settings."""
        chosen, names = {trial["number"] for trial in self.best}, [objective["name"] for objective in self.objectives]
        return [
            {
                "number": trial["number"],
                "chosen": trial["number"] in chosen,
                "values": [(usable_number(trial.get(name)), self.value(trial, name)) for name in names],
                "test": self.test_accuracy(trial),
                "status": {"complete": "completed", "fail": "failed"}.get(trial["status"], trial["status"])
                + (f", {number_of(trial['seeds'], 'seed')}" if trial.get("seeds") else ""),
                "settings": " ".join(trial["overrides"]),
            }
            for trial in self.record["history"]
        ]


def _scale(value: Any, scale: float) -> float | None:
    number = usable_number(value)
    return None if number is None else scale * number


def _of_other_seeds(tested: Mapping[Path, float]) -> dict[Path, list[float]]:
    """The accuracies of the runs with other seeds than a trial's first, by the folder of that one."""
    by_folder: dict[Path, list[float]] = {}
    for folder, accuracy in tested.items():
        name = OTHER_SEED.fullmatch(folder.name)
        if name is not None:
            by_folder.setdefault(folder.with_name(name[1]), []).append(accuracy)
    return by_folder


def searches_in(folders: Sequence[Path], runs: Sequence[Run]) -> tuple[list[Search], list[str]]:
    """The searches among the folders, and a line for each search.json that cannot be used.

    Args:
        runs: All runs with a result: a trial that was done again is a trial.
    """
    searches, faults = [], []
    if not any((folder / SEARCH).exists() for folder in folders):
        return [], []
    tested = {run.folder.resolve(): float(run.result["student"]["accuracy"]) for run in runs}
    other_seeds = _of_other_seeds(tested)
    config_dirs = {run.folder.resolve(): run.result["config_dir"] for run in runs if run.result.get("config_dir")}
    for folder in folders:
        if not (folder / SEARCH).exists():
            continue
        content, wrong = tolerant_json.json_of(folder / SEARCH)
        if not wrong and "history" not in content:
            continue  # of an earlier version, which recorded the best trials alone
        record, gone = tolerant_json.remove_misshapen(content, result_schema.SEARCH)
        if wrong or not set(record) >= NEEDED or not record["objectives"]:
            faults.append(f"{folder / SEARCH}: {wrong or 'not as kd-runner writes it'}: the search is not shown")
            continue
        if gone:
            faults.append(tolerant_json.left_out(SEARCH, gone))
        searches.append(Search(folder, record, tested, other_seeds, config_dirs))
    return searches, faults
