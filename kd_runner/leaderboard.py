"""The leaderboard of runs: groups over seeds, ranks, intervals and paired tests, from their result.json files alone.

Intervals of a mean over seeds are Student's t. Two groups are compared on the seeds that both have, image by image of
the same test images: a bootstrap over the images (Efron 1979) of the difference in accuracy, and an exact sign test of
the images that one of the two gets right more often, which for one seed is McNemar's (1947).
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy import special

from kd_runner import atomic
from kd_runner.config import SettingsError

NAME = "leaderboard"
ASIDE = (
    "store=",
    "resume=",
    "trust=",
    "tracking.",
    "hydra.",
    "dataset.root=",
    "dataset.cache=",
    "trainer.threads=",
    "trainer.log_every=",
)
SEEDS = ("seed", "data_seed")
RESAMPLES = 10_000
ALIVE = 60.0  # seconds, and three epochs, for which a job may say nothing and is still taken to be running


@dataclass(frozen=True)
class Run:
    """One run that was completed.

    Args:
        words: The overrides that can change the result, without the seeds, sorted.
        seeds: seed and data_seed.
    """

    folder: Path
    words: tuple[str, ...]
    seeds: tuple[Any, ...]
    result: dict[str, Any]

    @property
    def tested_on(self) -> Any:
        """Which test images, in a few digits; of results that do not say, how many."""
        packed = self.result["student"].get("correct") or {}
        return packed.get("of", packed.get("images"))

    @property
    def correct(self) -> np.ndarray | None:
        """bool [test images]; None in results that do not have it."""
        packed = self.result["student"].get("correct")
        if packed is None:
            return None
        return np.unpackbits(np.frombuffer(base64.b64decode(packed["bits"]), np.uint8))[: packed["images"]].astype(bool)


@dataclass(frozen=True)
class Missing:
    """A run without a result, and why."""

    folder: Path
    words: str
    reason: str


@dataclass
class Group:
    """Runs that differ in their seeds alone."""

    words: tuple[str, ...]
    runs: list[Run]
    name: str = ""
    against: dict[str, Any] = field(default_factory=dict)  # the reference: difference, low, high, p

    def values(self, *keys: str) -> np.ndarray:
        """float64 [runs that have it]: a number of each result, by its keys from outermost to innermost."""
        found = []
        for run in self.runs:
            value: Any = run.result
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found.append(value)
        return np.array(found, float)

    @property
    def accuracies(self) -> np.ndarray:
        return self.values("student", "accuracy")

    @property
    def gains(self) -> np.ndarray:
        """Student's accuracy less the baseline's, of each run with a baseline."""
        both = [run.result for run in self.runs if run.result.get("baseline")]
        return np.array([each["student"]["accuracy"] - each["baseline"]["accuracy"] for each in both])


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean (Student's t); NaN of fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))


def sign_test(better: int, discordant: int) -> float:
    """Two-sided p of that many better ones among the discordant, were each as likely as the other."""
    if discordant == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(better, discordant - better), discordant, 0.5)))


def found(folders: Iterable[Path]) -> tuple[list[Run], list[Missing]]:
    """The runs under `folders`, with and without a result.

    Raises:
        SettingsError: no such folder.
    """
    runs: list[Run] = []
    missing: list[Missing] = []
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"no folder {folder.resolve()}")
        for path in sorted(folder.rglob("result.json"), key=_natural):
            if path.parent.resolve() not in seen:
                _sort_in(path, runs, missing)
            seen.add(path.parent.resolve())
        for sweep in sorted(folder.rglob("sweep.json")):
            content = atomic.read_json(sweep)
            for place, words in zip(content.get("folders", []), content.get("jobs", []), strict=False):
                if (sweep.parent / place).resolve() not in seen:
                    missing.append(Missing(sweep.parent / place, words, _why_missing(sweep.parent / place)))
                seen.add((sweep.parent / place).resolve())
    latest: dict[tuple[Any, ...], Run] = {}  # of one thing done twice, the last
    for run in sorted(runs, key=lambda run: (run.folder / "result.json").stat().st_mtime):
        latest[run.words, run.seeds] = run
    return [run for run in runs if latest[run.words, run.seeds] is run], missing


def _natural(path: Path) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.parts]


def _sort_in(path: Path, runs: list[Run], missing: list[Missing]) -> None:
    result = atomic.read_json(path)
    words = [str(word) for word in result.get("overrides", [])]
    student = result.get("student")
    status = result.get("status", "result.json cannot be read")
    number = student.get("accuracy") if isinstance(student, dict) else None
    if status == "completed" and isinstance(number, (int, float)) and np.isfinite(number):
        telling = sorted(word for word in words if not word.startswith(ASIDE) and word.partition("=")[0] not in SEEDS)
        typed = dict(word.partition("=")[::2] for word in words)
        seeds = tuple(str(result.get(name, typed.get(name, "0"))) for name in SEEDS)
        runs.append(Run(path.parent, tuple(telling), seeds, result))
    else:
        reason = f"{status}: {result['error']}" if result.get("error") else str(status)
        missing.append(Missing(path.parent, " ".join(words), reason))


def _why_missing(folder: Path) -> str:
    now = folder / "now.json"
    if now.exists():
        state = atomic.read_json(now)
        where = f"{state.get('stage')} epoch {state.get('epoch')} of {state.get('epochs')}"
        silent = max(ALIVE, 3 * float(state.get("seconds_per_epoch", 0)))
        return f"running: {where}" if time.time() - now.stat().st_mtime < silent else f"silent since {where}"
    return "began, and left no result" if (folder / "settings.json").exists() else "not started"


def grouped(runs: Sequence[Run], reference: str | None = None) -> list[Group]:
    """The groups, the best first, named by what they differ in, each compared with the reference.

    Args:
        reference: Part of the name of a group; None for the last one, or for the best of several.

    Raises:
        SettingsError: no group has such a name.
    """
    by_words: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_words.setdefault(run.words, []).append(run)
    common = Counter(word for words in by_words for word in words)
    groups = [Group(words, members) for words, members in by_words.items()]
    for group in groups:
        group.name = " ".join(word for word in group.words if common[word] < len(groups)) or "defaults"
    groups.sort(key=lambda group: -group.accuracies.mean())
    if reference is None or not groups:
        return groups
    chosen = [group for group in groups if reference in group.name.split()] or [
        group for group in groups if reference in group.name
    ]
    if not chosen:
        raise SettingsError(
            f"reference: must be part of a row's name, got {reference}: {', '.join(g.name for g in groups)}"
        )
    for group in groups:
        if group is not chosen[0]:
            group.against = {"name": chosen[0].name, **compared(group, chosen[0])}
    return groups


def compared(group: Group, reference: Group) -> dict[str, float]:
    """Difference in accuracy on common seeds, its 95 % bootstrap interval, and p; empty without common seeds."""
    theirs = {(run.seeds, run.tested_on): run for run in reference.runs}
    pairs = [(run, theirs.get((run.seeds, run.tested_on))) for run in group.runs if run.correct is not None]
    tested = Counter(run.tested_on for run, other in pairs if other is not None)
    if not tested:
        return {}
    commonest = tested.most_common(1)[0][0]  # images are added up over seeds where they are the same images
    both = [(run.correct, other.correct) for run, other in pairs if other is not None and run.tested_on == commonest]
    ours, others = (np.stack([each for each in column if each is not None]) for column in zip(*both, strict=True))
    difference = (ours.astype(int) - others.astype(int)).sum(0)  # of each image, over seeds
    # Images with equal differences are alike to the bootstrap, so it draws how many there are of each kind.
    kinds, counts = np.unique(difference, return_counts=True)
    draws = np.random.default_rng(0).multinomial(len(difference), counts / len(difference), RESAMPLES)
    means = draws @ kinds / (len(difference) * len(both))
    better, discordant = int((difference > 0).sum()), int((difference != 0).sum())
    return {
        "difference": float(difference.mean() / len(both)),
        "low": float(np.quantile(means, 0.025)),
        "high": float(np.quantile(means, 0.975)),
        "p": sign_test(better, discordant),
        "seeds": len(both),
    }


COLUMNS = (
    "rank", "settings", "n", "accuracy", "sd", "ci95", "best_val_accuracy", "gain", "gain_sd", "gap_closed", "teacher",
    "baseline", "agreement", "nll", "ece", "parameters", "macs", "images_seen", "seconds", "reference", "difference",
    "difference_low", "difference_high", "p",
)  # fmt: skip


def rows(groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
    """The leaderboard's rows: accuracies in [0, 1], seconds of the student's stage, None for what there is none of."""

    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if len(values) else None

    def deviation(values: np.ndarray) -> float | None:
        return float(values.std(ddof=1)) if len(values) > 1 else None

    for rank, group in enumerate(groups, 1):
        values = group.accuracies
        half = interval(values)
        yield {
            "rank": rank,
            "settings": group.name,
            "n": len(values),
            "accuracy": mean(values),
            "sd": deviation(values),
            "ci95": None if np.isnan(half) else half,
            "best_val_accuracy": mean(group.values("student", "best_val", "accuracy")),
            "gain": mean(group.gains),
            "gain_sd": deviation(group.gains),
            "gap_closed": mean(group.values("gap_closed")),
            "teacher": mean(group.values("teacher", "accuracy")),
            "baseline": mean(group.values("baseline", "accuracy")),
            "agreement": mean(group.values("student", "agreement")),
            "nll": mean(group.values("student", "nll")),
            "ece": mean(group.values("student", "ece")),
            "parameters": mean(group.values("student", "parameters")),
            "macs": mean(group.values("student", "macs")),
            "images_seen": mean(group.values("student", "images_seen")),
            "seconds": mean(group.values("seconds", "student")),
            "reference": group.against.get("name"),
            "difference": group.against.get("difference"),
            "difference_low": group.against.get("low"),
            "difference_high": group.against.get("high"),
            "p": group.against.get("p"),
        }


def cells(row: dict[str, Any]) -> list[str]:
    """A row for people: percent and points."""

    def percent(value: float | None, digits: int = 2) -> str:
        return "" if value is None else f"{100 * value:.{digits}f}"

    spread = "" if row["sd"] is None else f" ± {percent(row['sd'])}"
    gain = "" if row["gain"] is None else f"{100 * row['gain']:+.2f}"
    gain += "" if row["gain_sd"] is None else f" ± {percent(row['gain_sd'])}"
    versus = ""
    if row["difference"] is not None:
        low, high = (f"{100 * row[name]:+.2f}" for name in ("difference_low", "difference_high"))
        versus = f"{100 * row['difference']:+.2f} [{low}, {high}] p={row['p']:.2g}"
    return [
        str(row["rank"]),
        row["settings"],
        str(row["n"]),
        f"{percent(row['accuracy'])}{spread}",
        "" if row["ci95"] is None else f"± {percent(row['ci95'])}",
        gain,
        "" if row["gap_closed"] is None else f"{100 * row['gap_closed']:.0f} %",
        percent(row["agreement"]),
        "" if row["nll"] is None else f"{row['nll']:.4f}",
        "" if row["parameters"] is None else f"{row['parameters']:,.0f}",
        "" if row["images_seen"] is None else f"{row['images_seen']:,.0f}",
        "" if row["seconds"] is None else f"{row['seconds']:,.0f}",
        versus,
    ]


HEADINGS = (
    "", "settings", "n", "accuracy, %", "95 %", "gain, points", "gap closed", "agreement", "NLL", "parameters",
    "images seen", "seconds", "against the reference, points",
)  # fmt: skip


def _shown(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, without columns that are empty throughout."""
    table = [cells(row) for row in rows(groups)]
    filled = [column for column in range(len(HEADINGS)) if any(line[column] for line in table)]
    return [HEADINGS[column] for column in filled], [[line[column] for column in filled] for line in table]


def terminal(groups: Sequence[Group], missing: Sequence[Missing], console: Console) -> None:
    """Print the leaderboard."""
    headings, lines = _shown(groups)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "settings" else "right", no_wrap=heading != "settings")
    for line in lines:
        table.add_row(*map(escape, line))
    console.print(table)
    for each in missing:
        console.print(f"no result: {each.folder} ({each.words}): {each.reason}", highlight=False, markup=False)


def markdown(groups: Sequence[Group], missing: Sequence[Missing]) -> str:
    """The leaderboard as a Markdown table."""
    headings, lines = _shown(groups)
    text = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    if missing:
        text += ["", "Runs without a result:", ""]
        text += [f"- `{each.folder}` ({each.words}): {each.reason}" for each in missing]
    return "\n".join([*text, "", NOTE, ""])


NOTE = (
    "Accuracy of the student after its last epoch on the test images, mean ± standard deviation over seeds. 95 %: half "
    "the interval of the mean (Student's t). Gain: student less baseline. Against the reference: difference on "
    "common seeds with its 95 % bootstrap interval over test images, and the p of an exact sign test over images "
    "(McNemar's, of one seed). Neither knows of the spread between seeds, nor of how many rows were compared."
)


def write(folder: Path, groups: Sequence[Group], missing: Sequence[Missing]) -> None:
    """Put leaderboard.csv, .md and .html into `folder`."""
    from kd_runner.pictures import page

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows(groups))
    atomic.write(folder / f"{NAME}.csv", text.getvalue().encode())
    atomic.write(folder / f"{NAME}.md", markdown(groups, missing).encode())
    headings, lines = _shown(groups)
    atomic.write(folder / f"{NAME}.html", page(headings, lines, groups, missing, NOTE).encode())


def report(folders: Sequence[Path], out: Path, reference: str | None = None, console: Console | None = None) -> Path:
    """Write and print the leaderboard of all runs under `folders`; returns the folder for TensorBoard.

    Raises:
        SettingsError: no such folder, no run in any of them, or no such reference.
    """
    runs, missing = found(folders)
    if not runs and not missing:
        raise SettingsError(f"no run of kd-runner in {', '.join(map(str, folders))}")
    groups = grouped(runs, reference)
    write(out, groups, missing)
    terminal(groups, missing, console or Console(width=None if sys.stdout.isatty() else 200))
    from kd_runner import hparams

    return hparams.write(out, runs, missing, markdown(groups, missing))


def main() -> int:
    """`kd-report FOLDER…`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="kd-report", description="The leaderboard of runs and sweeps.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of runs or sweeps, running or ended")
    parser.add_argument("--reference", help="part of a row's name: compare every other row with it")
    parser.add_argument(
        "--out", type=Path, help="where to put leaderboard.csv, .md and .html (default: the first folder)"
    )
    given = parser.parse_args()
    out = given.out or given.folders[0]
    try:
        if given.out:
            out.mkdir(parents=True, exist_ok=True)
        charts = report(given.folders, out, given.reference)
    except (SettingsError, OSError) as error:
        print(f"kd-report: {error}", file=sys.stderr)
        return 2
    print(out / f"{NAME}.html")
    print(shlex.join(["tensorboard", "--logdir", str(charts)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
