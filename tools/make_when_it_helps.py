"""Writes docs/when_it_helps.md from docs/when_it_helps.csv: python tools/make_when_it_helps.py.

The CSV is made by `python tools/evidence.py factor NAME`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evidence import FACTORS, seed_word
from make_results import paired_p

from kd_runner.comparison.statistics import holm_factors, interval
from kd_runner.formats import points

ROOT = Path(__file__).resolve().parent.parent
SURE = 0.01
PAGE, TABLE = (ROOT / "docs" / f"when_it_helps.{kind}" for kind in ("md", "csv"))


@dataclass(frozen=True)
class Factor:
    """What decides whether distillation helps.

    Args:
        heading: The factor, in words.
        before: What is varied, and what one would expect.
        advice: What to do with it.
    """

    heading: str
    before: str
    advice: str


@dataclass(frozen=True)
class Level:
    """The results with one value of the factor: accuracies in percent, gains in points."""

    setting: str
    images: int
    teacher: float
    baseline: float
    student: float
    gain: float
    half: float
    p: float | None


def read() -> list[dict[str, str]]:
    """The lines of the CSV."""
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def levels(lines: Sequence[Mapping[str, str]], name: str) -> list[Level]:
    """The levels of one factor, in the order of its command; p and intervals are corrected for their number."""
    command_of = " ".join(FACTORS[name])
    settings = sorted(
        dict.fromkeys(line["setting"] for line in lines),
        key=lambda setting: command_of.index(setting.partition("=")[2].replace(" ", "").replace(":", ": ")),
    )
    columns = {
        setting: {
            name: np.array([100 * float(line[name]) for line in lines if line["setting"] == setting])
            for name in ("teacher", "baseline", "student")
        }
        for setting in settings
    }
    gains = {setting: values["student"] - values["baseline"] for setting, values in columns.items()}
    tested = [setting for setting in settings if gains[setting].std() > 1e-9]
    raw = {setting: paired_p(gains[setting]) for setting in tested}
    factors = dict(zip(tested, holm_factors(list(raw.values())), strict=True))
    images = {line["setting"]: int(line["images"]) for line in lines}
    return [
        Level(
            setting,
            images[setting],
            *(float(columns[setting][name].mean()) for name in ("teacher", "baseline", "student")),
            float(gains[setting].mean()),
            interval(gains[setting], 0.05 / factors[setting]) if setting in factors else 0.0,
            min(1.0, raw[setting] * factors[setting]) if setting in factors else None,
        )
        for setting in settings
    ]


def table(rows: Sequence[Level]) -> str:
    """The levels as a table in Markdown."""
    text = (
        "| setting | images of the student | teacher | baseline | student | gain, corrected interval | p |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    for row in rows:
        p = "" if row.p is None else f"{row.p:.3g}"
        gain, low, high = (points(value / 100) for value in (row.gain, row.gain - row.half, row.gain + row.half))
        text += (
            f"| `{row.setting}` | {row.images:,} | {row.teacher:.2f} | {row.baseline:.2f} | {row.student:.2f} | "
            f"{gain} ({low} to {high}) | {p} |\n"
        )
    return text


def verdict(rows: Sequence[Level]) -> str:
    """Where the gain is sure, where the loss, and where neither."""
    sure = [row for row in rows if row.p is not None and row.p < SURE]
    kinds = {
        "sure gain": [row for row in sure if row.gain > 0],
        "sure loss": [row for row in sure if row.gain < 0],
        "no sure difference": [row for row in rows if row not in sure],
    }
    parts = [f"{kind}: {', '.join(f'`{row.setting}`' for row in found)}" for kind, found in kinds.items() if found]
    return f"With corrected p below {SURE:g}, {'; '.join(parts)}."


def command(name: str, seeds: Sequence[int]) -> str:
    """The command that made the table of a factor."""
    words = (f"'{word}'" if set(word) & set("[]{} ") else word for word in FACTORS[name])
    return " ".join(["kd-runner -m", seed_word(seeds), *words])


def page() -> str:
    """The page in Markdown."""
    lines = read()
    text = INTRO
    for name, factor in TEXTS.items():
        own = [line for line in lines if line["factor"] == name]
        if own:
            rows = levels(own, name)
            seeds = sorted({int(line["seed"]) for line in own})
            text += f"\n## {factor.heading}\n\n{factor.before}\n\n    {command(name, seeds)}\n\n{table(rows)}\n"
            text += f"{verdict(rows)} {factor.advice}\n"
    return text + END


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
