"""Runs the searches and the tables of docs/results.md and docs/when_it_helps.md: python tools/evidence.py STEP NAME.

`search` tries the same number of settings for every mode, and for the student without a teacher, with seeds that no
table has, and keeps each trial's validation accuracy in docs/searches.csv. `table` trains every mode with the settings
that were best there, on the table's seeds, and keeps the results in docs/results.csv. Each is one `kd-runner -m`
command, which is printed, with a folder of experiments that this script writes; a sweep that was stopped goes on where
it was. `factor` sweeps one setting, with the student and its baseline, and keeps the results in docs/when_it_helps.csv.
`absent` trains students that see no image of some classes, and keeps the results in docs/absent_classes.csv. `default`
searches the epochs and learning rates of the default run, and keeps each trial in docs/default_search.csv.
`python tools/make_results.py` and `python tools/make_when_it_helps.py` make the pages of these files.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from evidence_factors import ABSENT, DEFAULT, FACTORS
from evidence_pairs import ALONE, LONGER, PAIRS, ROOT, TEN, all_modes
from evidence_sweeps import (
    dumped,
    order_of_row,
    replace_rows,
    results_of,
    run_sweep,
    seed_word,
    sweep,
    write_experiment,
)
from evidence_trials import trials

TRIALS, RESULTS, FACTOR_RESULTS, ABSENT_RESULTS, DEFAULT_TRIALS = (
    ROOT / "docs" / f"{name}.csv"
    for name in ("searches", "results", "when_it_helps", "absent_classes", "default_search")
)
TRIAL_COLUMNS = ("pair", "mode", "settings", "seed", "val_accuracy", "val_accuracy_late")
RESULT_COLUMNS = (
    *("pair", "mode", "settings", "seed", "teacher", "student", "student_val", "ece"),
    *("images_seen", "macs", "parameters", "teacher_parameters"),
)
ABSENT_NUMBERS = ("accuracy", "shift", "shifted_accuracy", "shifted_accuracy_of_all")
ABSENT_COLUMNS = ("experiment", "temperature", "seed", "network", "teacher", "of_all", *ABSENT_NUMBERS)
FACTOR_COLUMNS = ("factor", "setting", "seed", "teacher", "baseline", "student", "images")
DEFAULT_NUMBERS = ("baseline_val", "student_val")
DEFAULT_COLUMNS = ("search", "epochs", "lr", "teacher_lr", "seed", *DEFAULT_NUMBERS)
LATE = 0.1  # share of the epochs, at their end, whose mean decides between trials with equal accuracy


def search(name: str, root: Path, words: Sequence[str], modes: Sequence[str] = ()) -> None:
    """Run a pair's search, of these modes alone where there are any, and keep its trials."""
    pair, folder = PAIRS[name], folder_of(root, name, "search", modes)
    tried = {
        f"{mode}_{number:02}": (mode, settings)
        for mode in modes or (*(pair.modes or all_modes()), *((LONGER,) if pair.longer else ()))
        for number, settings in enumerate(trials(mode, pair))
    }
    for option, (mode, settings) in tried.items():
        write_experiment(
            folder / "conf" / "experiment" / f"{option}.yaml", mode, {"student.epochs": pair.epochs, **settings}
        )
    alone = [option for option, (mode, _) in tried.items() if mode in ALONE]
    taught = [option for option in tried if option not in alone]
    if taught:
        sweep(folder / "sweep", pair, taught, pair.search_seeds, (*pair.search_words, *words))
    if alone:  # with the epochs of the table
        sweep(folder / "sweep_alone", pair, alone, (*pair.search_seeds, *pair.none_seeds), words)
    keep_trials(name, folder, tried, modes)


def folder_of(root: Path, name: str, step: str, modes: Sequence[str]) -> Path:
    """The folder of a search or a table, which some modes alone have for themselves."""
    return root / "_".join([name, step, *modes])


def keep_trials(
    name: str, folder: Path, tried: Mapping[str, tuple[str, Mapping[str, Any]]], modes: Sequence[str] = ()
) -> None:
    """Write the trials of a search into docs/searches.csv."""
    rows = []
    for words, result in results_of(folder):
        mode, settings = tried[words["experiment"]]
        values = result["student"]["val_accuracies"]
        late = float(np.mean(values[-max(1, round(LATE * len(values))) :]))
        row = {"pair": name, "mode": mode, "settings": dumped(settings), "seed": result["seed"]}
        rows.append({**row, "val_accuracy": values[-1], "val_accuracy_late": late})
    rows.sort(key=order_of_row)
    replace_rows(TRIALS, TRIAL_COLUMNS, name, rows, modes=modes)


def chosen(name: str) -> dict[str, str]:
    """Each mode's settings with the best mean validation accuracy over the search's seeds, as words.

    Of equal ones, those with the best mean over the last epochs; of equal ones there, the first in docs/searches.csv.
    """
    with TRIALS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["pair"] == name]
    best = {}
    for mode in sorted({row["mode"] for row in rows}):
        means = {}
        for row in (row for row in rows if row["mode"] == mode):
            means.setdefault(row["settings"], []).append((float(row["val_accuracy"]), float(row["val_accuracy_late"])))
        best[mode] = max(means, key=lambda settings: tuple(np.round(np.mean(means[settings], axis=0), 5)))
    return best


def table(name: str, root: Path, words: Sequence[str], modes: Sequence[str] = ()) -> None:
    """Train every mode of a pair, or these alone, with its chosen settings, and keep the results."""
    pair, folder = PAIRS[name], folder_of(root, name, "table", modes)
    if pair.grids:
        for number, grid in enumerate(pair.grids):
            run_sweep(folder / f"sweep{number}", [*pair.words, seed_word(pair.seeds), *grid], words)
        keep_results(name, folder, modes=modes)
        return
    settings = {mode: text for mode, text in chosen(name).items() if not modes or mode in modes}
    for mode, text in settings.items():
        values = {key: yaml.safe_load(value) for key, value in (word.split("=", 1) for word in text.split())}
        write_experiment(
            folder / "conf" / "experiment" / f"{mode}.yaml", mode, {"student.epochs": pair.epochs, **values}
        )
    sweep(folder / "sweep", pair, list(settings), pair.seeds, words)
    if pair.more_seeds:
        sweep(folder / "sweep_more", pair, list(settings), pair.more_seeds, words)
    keep_results(name, folder, settings, modes)


def keep_results(name: str, folder: Path, settings: Mapping[str, str] | None = None, modes: Sequence[str] = ()) -> None:
    """Write the results of a table into docs/results.csv.

    Args:
        settings: The settings of each mode; none: those of the grid.
        modes: The modes whose rows are replaced; none: all.
    """
    rows: list[dict[str, Any]] = []
    swept = dict.fromkeys(word.split("=")[0] for grid in PAIRS[name].grids for word in grid)
    swept.pop("distillation", None)
    for words, result in results_of(folder):
        mode = words["distillation" if settings is None else "experiment"]
        own = " ".join(f"{key}={words[key]}" for key in swept if key in words) if settings is None else settings[mode]
        student, teacher = result["student"], result["teacher"]
        row = {"pair": name, "mode": mode, "settings": own, "seed": result["seed"]}
        row |= {"teacher": teacher["accuracy"], "student": student["accuracy"], "ece": student["ece"]}
        row |= {"student_val": student["val_accuracies"][-1], "images_seen": student["images_seen"]}
        row |= {"macs": result["budget"]["student"]["macs"]["sum"], "parameters": student["parameters"]}
        rows.append({**row, "teacher_parameters": teacher["parameters"]})
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        seeds.setdefault((row["mode"], row["settings"]), set()).add(row["seed"])
    missing = sorted(set(settings or ()) - {mode for mode, _ in seeds})
    complete = set.intersection(*seeds.values()) if seeds else set()  # of a sweep that was stopped
    if missing or not complete:
        raise SystemExit(
            f"{folder}: no seed has a result of every row; none at all: {', '.join(missing) or 'of no row'}"
        )
    rows = [row for row in rows if row["seed"] in complete]
    rows.sort(key=order_of_row)
    replace_rows(RESULTS, RESULT_COLUMNS, name, rows, modes=modes)


def swept_key(words: Sequence[str]) -> str:
    """The key of the word that has several values: a comma that is in no brackets."""
    several = [word for word in words if "," in re.sub(r"\[[^\]]*\]|\{[^}]*\}", "", word)]
    return several[0].split("=", 1)[0]


def factor(name: str, root: Path, words: Sequence[str]) -> None:
    """Sweep one setting, and keep the results in docs/when_it_helps.csv."""
    folder, seeds = root / f"factor_{name}", range(5) if name == "view" else TEN
    run_sweep(folder / "sweep0", [seed_word(seeds), *FACTORS[name]], words, baseline=True)
    key = swept_key(FACTORS[name])
    rows = []
    for given, result in results_of(folder):
        row = {"factor": name, "setting": f"{key}={given[key]}", "seed": result["seed"]}
        row |= {stage: result[stage]["accuracy"] for stage in ("teacher", "baseline", "student")}
        rows.append({**row, "images": result["data"]["student"] or result["data"]["train"]})
    rows.sort(key=lambda row: (row["setting"], row["seed"]))
    replace_rows(FACTOR_RESULTS, FACTOR_COLUMNS, name, rows, "factor")


def absent(name: str, root: Path, words: Sequence[str]) -> None:
    """Train students that see no image of some classes, and keep the results in docs/absent_classes.csv."""
    folder = root / name
    given = [f"experiment=founding/{name}", seed_word(range(5)), "teacher_outputs=cache", "temperature.value=4,20"]
    run_sweep(folder / "sweep0", given, words, baseline=True)
    keep_absent(name, folder)


def keep_absent(name: str, folder: Path) -> None:
    """Write the results of an experiment whose student sees no image of some classes into docs/absent_classes.csv."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for given, result in results_of(folder):
        for network in ("baseline", "student"):
            temperature = "" if network == "baseline" else given["temperature.value"]
            row = {"experiment": name, "temperature": temperature, "seed": result["seed"], "network": network}
            row |= {"teacher": result["teacher"]["accuracy"], "of_all": result[network]["accuracy"]}
            rows[temperature, result["seed"]] = row | result[network]["absent_classes"]
    ordered = [rows[key] for key in sorted(rows, key=lambda key: (int(key[0] or 0), key[1]))]
    replace_rows(ABSENT_RESULTS, ABSENT_COLUMNS, name, ordered, "experiment")


def default(name: str, root: Path, words: Sequence[str]) -> None:
    """Search the settings of the default run, and keep the trials in docs/default_search.csv."""
    folder = root / f"default_{name}"
    for number, given in enumerate(DEFAULT[name]):
        run_sweep(folder / f"sweep{number}", given, words, baseline=True)
    rows = []
    for given, result in results_of(folder):
        rate = given.get("student.optimizer", given["optimizer.lr"]).removeprefix("{lr:").removesuffix("}")
        row = {"search": name, "epochs": int(given["student.epochs"]), "lr": float(rate)}
        row |= {"teacher_lr": float(given["optimizer.lr"]), "seed": result["seed"]}
        stages = zip(DEFAULT_NUMBERS, ("baseline", "student"), strict=True)
        rows.append({**row, **{column: result[stage]["val_accuracy"] for column, stage in stages}})
    rows.sort(key=lambda row: (row["teacher_lr"], row["epochs"], row["lr"], row["seed"]))
    replace_rows(DEFAULT_TRIALS, DEFAULT_COLUMNS, name, rows, "search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = {"search": PAIRS, "table": PAIRS, "factor": FACTORS, "absent": ABSENT, "default": DEFAULT}
    parser.add_argument("step", choices=names)
    parser.add_argument("name", choices=(*PAIRS, *FACTORS, *ABSENT, *DEFAULT), help="of a pair, a factor, or the like")
    parser.add_argument("--root", type=Path, default=ROOT / "outputs" / "evidence", help="folder of the sweeps")
    parser.add_argument("--modes", default="", help="search or table: these modes alone, with commas between them")
    parser.add_argument("words", nargs="*", help="more settings, such as hydra.launcher.jobs_per_device=2")
    given = parser.parse_intermixed_args()
    if given.name not in names[given.step]:
        parser.error(f"{given.step} takes one of {', '.join(names[given.step])}, got {given.name}")
    modes = [mode for mode in given.modes.split(",") if mode]
    if given.step in ("search", "table"):
        step = search if given.step == "search" else table
        step(given.name, given.root.resolve(), given.words, modes)
    else:
        steps = {"factor": factor, "absent": absent, "default": default}
        steps[given.step](given.name, given.root.resolve(), given.words)


if __name__ == "__main__":
    main()
