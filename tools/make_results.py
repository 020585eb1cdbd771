"""Writes docs/results.md from docs/results.csv and docs/searches.csv: python tools/make_results.py.

Both are made by tools/evidence.py.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evidence import DEFAULT_NUMBERS, chosen
from evidence_factors import DEFAULT
from evidence_pairs import ALONE, LONGER, ON_GPU, PAIRS, ROBUST, Pair
from evidence_sweeps import seed_word
from scipy import special

from kd_runner.comparison.statistics import holm_factors, interval

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
SURE = 0.01
WITHOUT_TEACHER = ("confidence_penalty", "label_smoothing", "tf_kd_reg")  # modes in which no network teaches
EXTRA_IMAGES = (*ROBUST, "mlkd")  # modes whose students see images that `none` does not
DEFAULT_SETTINGS = ("epochs", "lr", "teacher_lr")
NUMBERS = ("teacher", "student", "student_val", "ece", "images_seen", "macs", "parameters", "teacher_parameters")

INTRO = """# Results

Made by `python tools/make_results.py` from [results.csv](results.csv) and [searches.csv](searches.csv); a test
computes means, intervals and p anew from these files. All was run on CPUs (AMD EPYC, torch 2.14.1), one thread a job,
where a table says nothing else.

Each table is one pair of networks on one data set. Its rows are modes with their settings; `none` is the same
student, trained on labels alone, and `none_longer` the same with three or four times the epochs. Modes whose students
are the same networks have one row. Of the 50 modes, `catkd`, `deit`, `sdd`, `dml` and `kdcl` are in no table, as they ask
for other networks or for no teacher. Tables of 15 or 17 modes with a teacher have some of each kind, chosen before they
ran: all would have taken too long.

Where a search of the table's name is [below](#all-searches), a row's settings are those with the best validation
accuracy after the last epoch, on the table's own validation images, with other seeds; of equal ones (there are many
with few validation images) those that were best over the last tenth of the epochs, then the first in searches.csv.
The search tried the same number of settings for every mode, for `none` and for `none_longer`, but not of the same
kind: most modes' tries went into weights and temperatures at one learning rate where there were six, at two where there
were twelve, and those of `none` and `none_longer` into six or twelve rates. No setting was chosen by test images. How many seeds a table has, and that
the weights of the digits were searched at all, did follow looks at test results, as the tables say. Every number is of
the last epoch, not of the best.

- val, test: accuracy in percent, mean over seeds; test with its standard deviation.
- gain: test accuracy minus that of `none` with the same seed, in points, with an interval that is corrected for the
  number of rows as p is (Student's t, at a confidence of 1 - 0.05 / the row's factor of Holm's correction).
- p: paired t-test over seeds, with Holm's correction for all rows of the table. A row gains *surely* where p is below
  0.01, which is stricter than the 0.05 of kd-runner's own leaderboards and of the intervals.
- over longer, p: the same over `none_longer` in place of `none`, corrected for the rows that are compared so.
- ECE: calibration error of the student, in 15 bins of equal width.
- compute: multiply-accumulates of the student's training, those of its teacher's forward passes and of the mode
  included, over those of `none`; the outputs of a teacher count in every epoch, also where they were kept, and the
  training of the teacher is not counted. Where it is above 1, a gain is not at equal compute: `none_longer` shows what
  `none` makes of more. Between the CNNs of digits, MNIST and Fashion-MNIST most modes cost more than that, from the
  ResNet and on CIFAR-10 less, as the tables say.

`mlkd` also trains on a second view of each image, changed by RandAugment, and `ard` and `rslad` on attacked images, with
labels; `none` does not, so that what they gain is not the teacher's alone. All rows of a table share one choice of
images (`data_seed=0`), and one teacher for each seed or for all: intervals and p are over what differs between the
seeds, and not over other data.

| | digits | MNIST, Fashion-MNIST | CIFAR-10 |
| --- | --- | --- | --- |
| images for training, validation and test | 1,132, 126 and 539 of 8x8 | 58,800, 1,200 and 10,000 of 28x28 where the student has few; else 54,000, 6,000 and 10,000 | 49,000, 1,000 and 10,000 of 32x32 |
| changes of training images | none | none, but for teachers of MNIST: moved by up to two pixels | moved by up to four pixels, mirrored |
| optimizer | Adam without weight decay, cosine to 0 | the same | the same |
| images in a step | 64 | 128 | 128 |
| epochs of the teacher | 20 | MNIST 5, Fashion-MNIST 8 | 20 |
"""  # noqa: E501 (a row of a table stands in one line)


DEFAULTS = """
## Searches behind the default run

Choices were made on validation accuracy after the last epoch, mean over seeds 100 to 104. Both searches are equal for
baseline and student. The temperature was not searched, and weights were later (`digits_weights`, above). Every trial
is in [default_search.csv](default_search.csv), which `python tools/evidence.py default digits` fills by these commands.

    {commands}

| epochs | learning rate of the student | of the teacher | baseline, val | student, val |
| --- | --- | --- | --- | --- |
{rows}
Chosen: a learning rate of 0.01 for all stages, {rate}, and the {epochs} epochs of before,
with which the baseline is {below:.1f} points below its best.

With `student.fraction=1` there is no sure gain: [when_it_helps.md](when_it_helps.md#few-images-for-the-student).
"""


ABSENT = """
## Students that never saw some classes

Section 3 of Hinton, Vinyals and Dean 2015 once more, on MNIST: the student, an MLP of 256 and 256 units, sees no image
of some classes, and knows them from its teacher's soft targets for the others alone. The teacher, a CNN that saw all
classes, is right on {teacher:.2f} % of the test images. The *shift* is one number that is added to the logits of the
absent classes, chosen on validation images of all classes, with their labels. Seeds 0 to 4, mean and standard
deviation, in percent of the test images. {on_gpu} Every run is in [absent_classes.csv](absent_classes.csv).

    python tools/evidence.py absent no_threes && python tools/evidence.py absent sevens_and_eights

"""
ABSENT_TITLES = {
    "no_threes": (
        "No image of a 3 (1,010 of the 10,000 test images). In the paper the distilled student, with 3.5 added, is "
        "right on 98.6 % of the test's threes and 98.91 % of all; without, on 86.8 % and 97.94 %."
    ),
    "sevens_and_eights": (
        "Sevens and eights alone (2,002 of the test images). In the paper the distilled student is right on 52.7 % of "
        "all test images; with 7.6 taken from the two classes it saw, on 86.8 %."
    ),
}
ABSENT_HEAD = """
| student | absent classes | all | shift | absent classes, shifted | all, shifted |
| --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Row:
    """The results of a mode with its settings.

    Args:
        student_val: The mean validation accuracy of the student, in percent.
        gain: Over `none`, in points; 0 for `none` itself.
        half: Half the width of the interval of the gain, corrected as p is, in points.
        corrected: p with Holm's correction; None for `none` itself, and where every gain is the same.
        compute: Multiply-accumulates of the student's stage over those of `none`.
    """

    mode: str
    settings: str
    seeds: int
    student: float
    spread: float
    student_val: float
    ece: float
    compute: float
    gain: float
    half: float
    corrected: float | None


def read(name: str = "results") -> list[dict[str, str]]:
    """The lines of a CSV of docs."""
    path = ROOT / "docs" / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def paired_p(gains: np.ndarray) -> float:
    """The two-sided p of a t-test that the gains [N] are around none."""
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return 2 * float(special.stdtr(len(gains) - 1, -abs(gains.mean() / error)))


def columns_by_seed(
    lines: Sequence[Mapping[str, Any]], key: str, names: Sequence[str]
) -> dict[Any, dict[str, np.ndarray]]:
    """The numbers [seeds] of each value of `key`, in the order of the seeds.

    Raises:
        ValueError: a value has other seeds than the first one, or one twice: they cannot be paired.
    """
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: int(line["seed"])):
        found.setdefault(line[key], []).append(line)
    seeds = {value: [line["seed"] for line in own] for value, own in found.items()}
    first = next(iter(seeds.values()))
    for value, own in seeds.items():
        if own != first or len(set(own)) < len(own):
            raise ValueError(f"{value} must have each of the seeds {', '.join(first)} once, got {', '.join(own)}")
    return {
        value: {name: np.array([float(line[name]) for line in own]) for name in names} for value, own in found.items()
    }


def rows(lines: Sequence[dict[str, str]]) -> list[Row]:
    """The rows of one pair, by the student's validation accuracy, the highest first."""
    columns = columns_by_seed([{**line, "key": (line["mode"], line["settings"])} for line in lines], "key", NUMBERS)
    keys = list(columns)
    alone = next(columns[key] for key in keys if key[0] == "none")
    taught = [key for key in keys if key[0] != "none"]
    gains = {key: 100 * (columns[key]["student"] - alone["student"]) for key in taught}
    tested = [
        key for key in taught if gains[key].std(ddof=1) > 1e-9
    ]  # as in a leaderboard, gains that are all equal have no p
    levels = [paired_p(gains[key]) for key in tested]
    factors = dict(zip(tested, holm_factors(levels), strict=True))
    corrected = {key: min(1.0, level * factors[key]) for key, level in zip(tested, levels, strict=True)}
    table = [
        Row(
            *key,
            len(columns[key]["student"]),
            100 * float(columns[key]["student"].mean()),
            100 * float(columns[key]["student"].std(ddof=1)),
            100 * float(columns[key]["student_val"].mean()),
            float(columns[key]["ece"].mean()),
            float(columns[key]["macs"].mean() / alone["macs"].mean()),
            float(gains[key].mean()) if key in gains else 0.0,
            interval(gains[key], 0.05 / factors[key]) if key in factors else 0.0,
            corrected.get(key),
        )
        for key in keys
    ]
    return sorted(table, key=lambda row: (-row.student_val, row.mode, row.settings))


def distinct(lines: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, list[str]]]:
    """The lines without those of modes whose students are the networks of another row, and the names of these.

    Returns:
        The lines that stay, and for the mode of each row that stands for several the modes that it stands for.
    """
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for key in sorted({(line["mode"], line["settings"]) for line in lines}, key=lambda key: (_rank(key[0]), key)):
        own = [line for line in lines if (line["mode"], line["settings"]) == key]
        numbers = tuple(" ".join(line[name] for name in ("seed", "student", "student_val", "ece")) for line in own)
        found.setdefault(numbers, []).append(key)
    alike = {keys[0][0]: [mode for mode, _ in keys[1:]] for keys in found.values() if len(keys) > 1}
    kept = {keys[0] for keys in found.values()}
    return [line for line in lines if (line["mode"], line["settings"]) in kept], alike


def _rank(mode: str) -> int:
    """The place of a mode among those that one row stands for: first what the others are a form of."""
    first = (*ALONE, "soft")
    return first.index(mode) if mode in first else len(first)


def section(name: str, lines: Sequence[dict[str, str]]) -> str:
    """The section of a pair in Markdown."""
    pair, (lines, alike) = PAIRS[name], distinct(lines)
    table, longer = rows(lines), against_longer(lines)
    seeds = sorted({int(line["seed"]) for line in lines})
    shared = [line for line in lines if line["mode"] not in ROBUST]
    teacher = 100 * float(np.mean([float(line["teacher"]) for line in shared]))
    parameters, of_teacher = ({int(line[key]) for line in lines} for key in ("parameters", "teacher_parameters"))
    modes = {row.mode for row in table} | {mode for others in alike.values() for mode in others}
    text = f"## {pair.title}\n\n{pair.note}\n\n    {command(name, sorted(modes))}\n\n"
    text += (
        f"Seeds {', '.join(map(str, seeds))}. The teacher ({max(of_teacher):,} parameters) is right on {teacher:.2f} % "
        f"of the test images; the student has {min(parameters):,} parameters.\n\n"
    )
    sentences = (
        *verdict(table),
        *verdict_against_longer(pair, table, longer),
        *verdict_of_more_seeds(pair, lines),
        *rates_at_the_edge(name),
        *same_students(alike),
    )
    text += "".join(f"- {sentence}\n" for sentence in sentences)
    over = {} if longer is None else {(row.mode, row.settings): row for row in longer}
    heads = ["mode", "settings", "val", "test", "gain, corrected interval", "p"]
    heads += [*(["over longer", "p"] if over else []), "ECE", "compute"]
    text += f"\n| {' | '.join(heads)} |\n|{' --- |' * len(heads)}\n"
    for row in sorted(table, key=lambda row: _rank(row.mode) if row.mode in ALONE else len(ALONE)):
        cells = [row.mode, " ".join(f"`{word}`" for word in row.settings.split()), f"{row.student_val:.2f}"]
        cells += [f"{row.student:.2f} ± {row.spread:.2f}", *_gain_and_p(row)]
        if over:
            against = over.get((row.mode, row.settings))
            is_taught = row.mode not in ALONE and against is not None
            cells += [f"{against.gain:+.2f}", _p(against)] if is_taught and against else ["", ""]
        text += f"| {' | '.join([*cells, f'{row.ece:.3f}', f'{row.compute:.2f}'])} |\n"
    return text


def _gain_and_p(row: Row) -> tuple[str, str]:
    """The gain over `none` with its interval, and p, as a table has them."""
    if row.mode == "none":
        return "", ""
    if row.corrected is None:
        return f"{row.gain:+.2f}", ""
    return f"{row.gain:+.2f} ({row.gain - row.half:+.2f} to {row.gain + row.half:+.2f})", _p(row)


def _p(row: Row) -> str:
    return "" if row.corrected is None else f"{row.corrected:.3g}"


def summary(tables: Mapping[str, Sequence[dict[str, str]]]) -> str:
    """All tables of the page in one, in Markdown: how many modes gain, lose, and are above a longer baseline."""
    text = (
        "\n## In short\n\nHow many modes with a teacher surely gain over `none`, and over `none_longer`, and how many "
        "lose, each table's own verdict. Where a table got more seeds after a first look, what these say alone stands "
        "beside it. *Best* is the mode with the best validation accuracy of those that gain and see no other images "
        "than `none` (not `mlkd`, `ard` and `rslad`), with its gain over `none` in points.\n\n"
        "| table | `none`, test | seeds | gain | best | lose | over `none_longer` | later seeds alone: both |\n"
        f"|{' --- |' * 8}\n"
    )
    for name, every in tables.items():
        lines, pair = distinct(every)[0], PAIRS[name]
        table, alone = rows(lines), next(line for line in rows(lines) if line.mode == "none")
        later = [line for line in lines if int(line["seed"]) in pair.more_seeds]
        best = [row for row in sure_rows(table, 1) if row.mode not in EXTRA_IMAGES]
        cells = (
            f"[{pair.title}](#{anchor(pair.title)})",
            f"{alone.student:.2f}",
            alone.seeds,
            f"{len(sure_rows(table, 1))} of {count_of(table)}",
            f"`{best[0].mode}` {best[0].gain:+.2f}" if best else "",
            len(sure_rows(table, -1)),
            _over_longer(lines),
            f"{len(sure_rows(rows(later), 1))}, {_over_longer(later)}" if later else "",
        )
        text += f"| {' | '.join(map(str, cells))} |\n"
    return text


COLUMN_HEADS = {
    "digits_tenth": "digits, a tenth",
    "digits_resnet": "the same, ResNet",
    "fashion_one_percent": "Fashion, 1 %",
    "mnist_one_percent": "MNIST, 1 %",
    "fashion_five_percent": "Fashion, 5 %",
    "mnist_five_percent": "MNIST, 5 %",
    "cifar10_two_percent": "CIFAR-10, 2 %",
    "mnist_all": "MNIST, all",
}


def mode_by_mode(tables: Mapping[str, Sequence[dict[str, str]]]) -> str:
    """What each mode gains in each table whose settings were searched, in Markdown."""
    names = [name for name in COLUMN_HEADS if name in tables]
    found: dict[str, dict[str, Row]] = {}
    for name in names:
        lines, alike = distinct(tables[name])
        for row in rows(lines):
            for mode in (row.mode, *alike.get(row.mode, [])):
                found.setdefault(mode, {})[name] = row
    found.pop("none")
    gaining = {mode: sum(is_sure(row, 1) for row in own.values()) for mode, own in found.items()}
    text = (
        "\n## Mode by mode\n\nThe gain of each mode over `none` in points, in the tables whose settings were searched: "
        "in bold where it is sure, in italics where the mode surely loses, empty where it was not run. First come the "
        "modes that surely gain in the most tables. That is a look at test images: for data of your own it is a first "
        "guess at what to try, and no more. Students of `mlkd`, `ard` and `rslad` also see other images.\n\n"
        f"| mode | sure in | {' | '.join(COLUMN_HEADS[name] for name in names)} |\n|{' --- |' * (len(names) + 2)}\n"
    )
    for mode in sorted(found, key=lambda mode: (-gaining[mode], mode)):
        own = found[mode]
        cells = [_marked_gain(own[name]) if name in own else "" for name in names]
        text += f"| `{mode}` | {gaining[mode]} of {len(own)} | {' | '.join(cells)} |\n"
    return text


def _marked_gain(row: Row) -> str:
    mark = "**" if is_sure(row, 1) else "*" if is_sure(row, -1) else ""
    return f"{mark}{row.gain:+.2f}{mark}"


def _over_longer(lines: Sequence[dict[str, str]]) -> str:
    """How many modes gain over `none_longer`, as a cell."""
    longer = against_longer(lines)
    return "not run" if longer is None else str(len(sure_rows(longer, 1)))


def count_of(table: Sequence[Row]) -> str:
    """The number of rows of modes with a teacher, and what they are where one mode has several."""
    own = taught(table)
    modes = {row.mode for row in own}
    return f"{len(own)}" if len(modes) == len(own) else f"{len(own)} rows of `{'`, `'.join(sorted(modes))}`"


def anchor(heading: str) -> str:
    """What a link to a heading ends in, on GitHub."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def command(name: str, modes: Sequence[str]) -> str:
    """The commands that make a table, of which some modes may have been run before there were others."""
    pair = PAIRS[name]
    if not pair.grids:
        return f"python tools/evidence.py search {name} && python tools/evidence.py table {name}"
    words = [*pair.words, seed_word(pair.seeds), "baseline=false"]
    grids = pair.grids if len(pair.grids) > 1 else ((f"distillation={','.join(modes)}",),)
    return "\n    ".join(" ".join(["kd-runner -m", *words, *grid]) for grid in grids)


def taught(table: Sequence[Row]) -> list[Row]:
    """The rows of modes in which a teacher has a part."""
    return [row for row in table if row.mode not in (*ALONE, *WITHOUT_TEACHER)]


def sure_rows(table: Sequence[Row], sign: int) -> list[Row]:
    """The modes with a teacher that gain (`sign` 1) or lose (-1) with a corrected p below SURE."""
    return [row for row in taught(table) if is_sure(row, sign)]


def is_sure(row: Row, sign: int) -> bool:
    """True where a row gains (`sign` 1) or loses (-1) with a corrected p below SURE."""
    return row.gain * sign > 0 and row.corrected is not None and row.corrected < SURE


def verdict(table: Sequence[Row]) -> list[str]:
    """How many rows gain, lose, and show no sure difference."""
    better, worse = sure_rows(table, 1), sure_rows(table, -1)
    unsure = [row for row in taught(table) if row not in better and row not in worse]
    kind = "modes" if len({row.mode for row in taught(table)}) == len(taught(table)) else "rows"
    sentences = [
        f"**With corrected p below {SURE:g}, {len(better)} of {len(taught(table))} {kind} with a teacher gain**: "
        f"{_names(better)}.",
        f"{len(worse)} lose: {_names(worse)}. No sure difference: {_names(unsure)}.",
    ]
    others = [row for row in table if row.mode in WITHOUT_TEACHER]
    if others:
        own = [
            f"{row.mode} {'gains' if is_sure(row, 1) else 'loses' if is_sure(row, -1) else 'shows no sure difference'}"
            for row in sorted(others, key=lambda row: row.mode)
        ]
        sentences.append(f"Without a teacher: {', '.join(own)}.")
    return sentences


def against_longer(lines: Sequence[dict[str, str]]) -> list[Row] | None:
    """The rows of one pair with the student alone for more epochs as `none`; None where the table has no such row."""
    if all(line["mode"] != LONGER for line in lines):
        return None
    others = [line for line in lines if line["mode"] != "none"]
    return rows([{**line, "mode": "none"} if line["mode"] == LONGER else line for line in others])


def verdict_against_longer(pair: Pair, table: Sequence[Row], longer: Sequence[Row] | None) -> list[str]:
    """How many modes gain over the student alone with more epochs; none where the table has no such row."""
    if longer is None:
        return []
    alone = next(row for row in table if row.mode == LONGER)
    better, worse = sure_rows(longer, 1), sure_rows(longer, -1)
    costs = {(row.mode, row.settings): row.compute for row in table}
    cheap = [row for row in better if costs[row.mode, row.settings] <= alone.compute]
    sentences = [
        f"Over `{LONGER}`, the student alone for {pair.longer} epochs in place of {pair.epochs}, {len(better)} gain: "
        f"{_names(better)}. {len(worse)} lose: {_names(worse)}."
    ]
    if cheap:
        kind = f"{len(cheap)} have no more compute than its {alone.compute:.2f}: {_names(cheap)}"
        sentences.append(f"Of those that gain over it, {kind}.")
    elif better:
        sentences.append(f"Each of those that gain over it has more compute than its {alone.compute:.2f}.")
    return sentences


def verdict_of_more_seeds(pair: Pair, lines: Sequence[dict[str, str]]) -> list[str]:
    """What the seeds say alone that a table got after its first ones had been seen; none where it has none."""
    later = [line for line in lines if int(line["seed"]) in pair.more_seeds]
    if not later:
        return []
    table, longer = rows(later), against_longer(later)
    better, worse = sure_rows(table, 1), sure_rows(table, -1)
    over = "" if longer is None else f", {len(sure_rows(longer, 1))} over `{LONGER}`"
    return [
        f"Seeds {pair.seeds[0]} to {pair.seeds[-1]} were run first, and seen; how many more would follow was fixed "
        f"then, before they ran. With these {len(pair.more_seeds)} alone, {len(better)} of {len(taught(table))} gain "
        f"({_names(better)}){over}, {len(worse)} lose."
    ]


def rates_at_the_edge(name: str) -> list[str]:
    """A sentence on each student without a teacher whose chosen rate is the lowest or the highest that was tried."""
    own = [line for line in read("searches") if line["pair"] == name and line["mode"] in ALONE]
    sentences = []
    for mode in dict.fromkeys(line["mode"] for line in own):
        tried = sorted({_rate(line["settings"]) for line in own if line["mode"] == mode})
        rate = _rate(chosen(name)[mode])
        if rate in (tried[0], tried[-1]):
            kind, other = ("lowest", "lower") if rate == tried[0] else ("highest", "higher")
            sentences.append(f"The rate of `{mode}` is the {kind} that was tried: a {other} one may be better.")
    return sentences


def _rate(settings: str) -> float:
    """The learning rate in a trial's settings."""
    return float(settings.split("optimizer.lr=")[1].split()[0])


def same_students(alike: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence on modes whose students are the networks of another row."""
    return [
        f"The students of {', '.join(f'`{other}`' for other in others)} are the networks of `{mode}`, whose row stands "
        "for them, too."
        for mode, others in alike.items()
    ]


def _names(table: Sequence[Row]) -> str:
    several = len({row.mode for row in table}) < len(table)
    return ", ".join(sorted(f"{row.mode} {row.settings}" if several else row.mode for row in table)) or "none"


def absent_classes() -> str:
    """The section on students that never saw some classes, in Markdown; empty without results."""
    lines = read("absent_classes")
    if not lines:
        return ""
    teacher = 100 * float(np.mean([float(line["teacher"]) for line in lines]))
    text = ABSENT.format(teacher=teacher, on_gpu=ON_GPU)
    for name, title in ABSENT_TITLES.items():
        own = [line for line in lines if line["experiment"] == name]
        text += f"{title}\n{ABSENT_HEAD}"
        for temperature in dict.fromkeys(line["temperature"] for line in own):
            of_row = [line for line in own if line["temperature"] == temperature]
            cells = [f"distilled, T = {temperature}" if temperature else "labels alone"]
            for column in ("accuracy", "of_all", "shift", "shifted_accuracy", "shifted_accuracy_of_all"):
                values = np.array([float(line[column]) for line in of_row])
                cells.append(_mean_and_spread(values if column == "shift" else 100 * values))
            text += f"| {' | '.join(cells)} |\n"
        text += "\n"
    return text.rstrip("\n") + "\n"


def _mean_and_spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def searches() -> str:
    """What was searched, in Markdown."""
    text = (
        "## All searches\n\nEvery search of the tables above; [searches.csv](searches.csv) has the validation accuracy "
        "of each trial. The first table and those of the founding row have none of their name.\n\n"
        "| search | seeds | trials of each mode | runs | rates of each mode | rates of `none` |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
    )
    lines = read("searches")
    for name in dict.fromkeys(line["pair"] for line in lines):
        own = [line for line in lines if line["pair"] == name]
        seeds = sorted({line["seed"] for line in own}, key=int)
        of_modes = {
            mode: len({line["settings"] for line in own if line["mode"] == mode})
            for mode in {line["mode"] for line in own}
        }
        counts = "/".join(map(str, sorted(set(of_modes.values()))))
        rates = [
            _rates([line for line in own if (line["mode"] == "none") == alone and line["mode"] != LONGER])
            for alone in (False, True)
        ]
        cells = (f"`{name}`: {len(of_modes)} rows", ", ".join(seeds), counts, len(own), *rates)
        text += f"| {' | '.join(map(str, cells))} |\n"
    return text


def _rates(lines: Sequence[Mapping[str, str]]) -> str:
    """The learning rates that each mode tried: those of most modes, and in parentheses the modes with others."""
    of_modes: dict[str, set[float]] = {}
    for line in lines:
        found = re.findall(r"optimizer.lr=(\S+)", line["settings"])
        of_modes.setdefault(line["mode"], set()).update(map(float, found))
    if not of_modes:
        return "not searched"
    (usual, _), *others = Counter(map(frozenset, of_modes.values())).most_common()
    if not others:
        return _listed_rates(usual)
    exceptions = (
        f"{', '.join(f'`{mode}`' for mode in sorted(of_modes) if of_modes[mode] == rates)}: {_listed_rates(rates)}"
        for rates, _ in others
    )
    return f"{_listed_rates(usual)} ({'; '.join(exceptions)})"


def _listed_rates(rates: Iterable[float]) -> str:
    """Learning rates in words: each where there are few, else the lowest and the highest."""
    texts = [f"{rate:g}" for rate in sorted(rates)] or ["not searched"]
    return ", ".join(texts) if len(texts) < 5 else f"{len(texts)} from {texts[0]} to {texts[-1]}"


def default_searches() -> str:
    """The searches behind the default run, in Markdown."""
    lines = [{**line, "key": tuple(line[name] for name in DEFAULT_SETTINGS)} for line in read("default_search")]
    columns = columns_by_seed(lines, "key", DEFAULT_NUMBERS)
    means = {key: {name: 100 * own[name].mean() for name in DEFAULT_NUMBERS} for key, own in columns.items()}
    text = "".join(
        f"| {' | '.join(key)} | {' | '.join(f'{own[name]:.2f}' for name in DEFAULT_NUMBERS)} |\n"
        for key, own in means.items()
    )
    best = max(own["baseline_val"] for own in means.values())
    chosen = means["60", "0.01", "0.01"]["baseline_val"]
    highest = max(own["baseline_val"] for key, own in means.items() if key[0] == "60")
    rate = "where the baseline is best" if chosen == highest else "where the baseline is not the best"
    commands = "\n    ".join(shlex.join(["kd-runner", "-m", *words]) for words in DEFAULT["digits"])
    return DEFAULTS.format(commands=commands, rows=text, rate=rate, epochs=60, below=best - chosen)


def page() -> str:
    """The page in Markdown."""
    lines = read()
    names = [name for name in PAIRS if any(line["pair"] == name for line in lines)]
    tables = {name: [line for line in lines if line["pair"] == name] for name in names}
    text = INTRO + summary(tables) + mode_by_mode(tables)
    for name, own in tables.items():
        text += "\n" + section(name, own)
    return f"{text}{absent_classes()}\n{searches()}{default_searches()}"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
