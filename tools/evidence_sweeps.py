"""Sweeps as the tools run them, and the rows of the CSV files that keep their results."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from evidence_pairs import LONGER, Pair


def write_experiment(path: Path, mode: str, settings: Mapping[str, Any]) -> None:
    """Write an experiment with a mode and its settings, by dotted keys."""
    tree: dict[str, Any] = {"defaults": [{"override /distillation": "none" if mode == LONGER else mode}]}
    for key, value in settings.items():
        group, name = key.split(".")
        tree.setdefault(group, {})[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# @package _global_\n" + yaml.safe_dump(tree, sort_keys=False))


def sweep(folder: Path, pair: Pair, experiments: Sequence[str], seeds: Sequence[int], words: Sequence[str]) -> None:
    """Run the experiments of the folder `conf` beside `folder` with each seed; a sweep that was begun goes on."""
    conf = str(folder.parent / "conf")
    run_sweep(
        folder, ["--config-dir", conf, *pair.words, seed_word(seeds), f"experiment={','.join(experiments)}"], words
    )


def seed_word(seeds: Sequence[int]) -> str:
    """The seeds as a word of a sweep."""
    return f"seed={','.join(map(str, seeds))}"


def run_sweep(folder: Path, given: Sequence[str], words: Sequence[str], baseline: bool = False) -> None:
    """Run a sweep into `folder`, or go on with the one that is there."""
    command = [sys.executable, "-m", "kd_runner", "-m"]
    if folder.is_dir():
        configs = given[:2] if "--config-dir" in given else ()  # counts only where it is typed
        command += [f"resume={folder}", *configs]  # the words are those that the folder recorded
    else:
        typed = {word.split("=", 1)[0] for word in words}
        given = [word for word in given if word.split("=", 1)[0] not in typed]
        command += [*given, *(() if baseline else ("baseline=false",)), "tracking.images=false"]
        command += [f"hydra.sweep.dir={folder}", f"store={folder.parent.parent / 'store'}", *words]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)


def results_of(folder: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """The words and the result of every job that completed."""
    found = []
    for path in sorted(folder.glob("sweep*/*/result.json")):
        result = json.loads(path.read_text())
        if result["status"] == "completed":
            found.append((dict(word.split("=", 1) for word in result["overrides"]), result))
    return found


def dumped(settings: Mapping[str, Any]) -> str:
    """Settings as words of a command."""
    return " ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in settings.items()
    )


def replace_rows(
    path: Path,
    columns: Sequence[str],
    name: str,
    rows: Sequence[Mapping[str, Any]],
    column: str = "pair",
    modes: Sequence[str] = (),
) -> None:
    """Put the rows of a pair, or of another `column`, into a CSV in place of those that it had.

    Args:
        modes: The modes whose rows are replaced; none: all.
    """
    kept: list[Mapping[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row[column] != name or (modes and row["mode"] not in modes)]
    if modes:  # among those of the same name, in their order
        same = sorted([*(row for row in kept if row[column] == name), *rows], key=order_of_row)
        kept, rows = [row for row in kept if row[column] != name], same
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in (*kept, *rows):
            writer.writerow(
                {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
            )


def order_of_row(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """The place of a row among those of its pair."""
    return str(row["mode"]), str(row["settings"]), int(row["seed"])
