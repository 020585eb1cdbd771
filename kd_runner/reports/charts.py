"""The pictures of a leaderboard: what is drawn, and where, in percent of a picture's width and height.

The page draws it (templates/pictures.html): a picture is as wide as its window, and its text as large as the page's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.comparison.groups import Group
from kd_runner.reports.formats import number_or_text, short_count

MOST_STRIPS = 40  # rows of the picture of all runs
MARGIN = 0.04  # of the range of values, on either side
STAGES = ("teacher", "baseline", "student")


@dataclass(frozen=True)
class Axis:
    """A range of values across a picture; those of a logarithmic one are above 0."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Iterable[float], logarithmic: bool = False) -> Axis:
        """The range of the values, and a margin."""
        values = [math.log10(value) for value in values] if logarithmic else list(values)
        margin = MARGIN * (max(values) - min(values)) or (0.1 if logarithmic else 0.5)
        return cls(min(values) - margin, max(values) + margin, logarithmic)

    def at(self, value: float) -> float:
        """Its place, in percent from the low end."""
        value = math.log10(value) if self.logarithmic else value
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """About five round values, by their places, and what they are called."""
        if self.logarithmic:
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
            inside = [value for value in values if self.low <= math.log10(value) <= self.high]
            if len(inside) > 7:
                inside = [value for value in inside if f"{value:e}"[0] == "1"]
            return [(self.at(value), short_count(value)) for value in inside]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step = max(step * factor for factor in (1, 2, 5) if step * factor <= (self.high - self.low) / 4)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        digits = max(0, -math.floor(math.log10(step)))
        return [(self.at(number * step), f"{number * step:.{digits}f}") for number in range(first, last + 1)]


def path(points: Iterable[tuple[float, float]]) -> str:
    """Places in percent as the points of an SVG polyline."""
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def lines(series: Mapping[str, Sequence[float]]) -> dict[str, Any] | None:
    """Values over epochs, from 1, a line for each name; None where none has several."""
    series = {name: values for name, values in series.items() if len(values) > 1}
    if not series:
        return None
    up = Axis.around([value for values in series.values() for value in values])
    across = Axis.around([1, max(map(len, series.values()))])
    paths = [
        (name, path((across.at(epoch), 100 - up.at(value)) for epoch, value in enumerate(values, 1)))
        for name, values in series.items()
    ]
    epochs = [(place, text) for place, text in across.ticks if "." not in text]
    return {"lines": paths, "xticks": epochs, "yticks": [(round(100 - place, 2), text) for place, text in up.ticks]}


def strips(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Accuracy in percent of each group's runs, a point for each seed, beside their baselines and teachers."""
    shown = list(groups[:MOST_STRIPS])
    found = [{stage: 100 * group.values(stage, "accuracy") for stage in STAGES} for group in shown]
    values = [value for each in found for stage in STAGES for value in each[stage]]
    if not values:
        return None
    axis = Axis.around(values)
    rows = [
        {
            "rank": rank,
            "name": group.name,
            "mean": axis.at(each["student"].mean()),
            "points": [(stage, axis.at(value), f"{value:.2f}") for stage in STAGES for value in each[stage]],
        }
        for rank, (group, each) in enumerate(zip(shown, found, strict=True), 1)
    ]
    return {"rows": rows, "ticks": axis.ticks, "left_out": len(groups) - len(shown)}


def pareto(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Accuracy over parameters, the groups that no smaller one beats joined by lines; None of one size alone."""
    sized = [
        (float(group.values("student", "parameters").mean()), 100 * float(group.accuracies.mean()), rank, group.name)
        for rank, group in enumerate(groups, 1)
        if len(group.values("student", "parameters"))
    ]
    if len({size for size, *_ in sized}) < 2:
        return None
    front: list[int] = []
    most = -math.inf
    for _, accuracy, rank, _ in sorted(sized, key=lambda each: (each[0], -each[1])):
        if accuracy > most:
            front.append(rank)
            most = accuracy
    across = Axis.around([size for size, *_ in sized], logarithmic=True)
    up = Axis.around([accuracy for _, accuracy, *_ in sized])
    points: list[dict[str, Any]] = [
        {
            "rank": rank, "name": name, "size": size, "accuracy": accuracy, "front": rank in front,
            "x": across.at(size), "y": round(100 - up.at(accuracy), 2),
        }
        for size, accuracy, rank, name in sized
    ]  # fmt: skip
    on_front = sorted((point for point in points if point["front"]), key=lambda point: point["size"])
    return {
        "points": points,
        "front": on_front,
        "line": path((point["x"], point["y"]) for point in on_front),
        "xticks": across.ticks,
        "yticks": [(round(100 - place, 2), text) for place, text in up.ticks],
    }


def heat_map(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Mean accuracy over the two settings with the most values; None where fewer than two were swept in a grid."""
    split = [dict(word.partition("=")[::2] for word in group.words) for group in groups]
    values: dict[str, list[str]] = {}
    for words in split:
        for key, value in words.items():
            values.setdefault(key, [])
            if value not in values[key]:
                values[key].append(value)
    swept = sorted((key for key in values if len(values[key]) > 1), key=lambda key: -len(values[key]))
    if len(swept) < 2:
        return None
    down, across = swept[:2]
    cells: dict[tuple[str, str], list[float]] = {}
    for group, words in zip(groups, split, strict=True):
        if down in words and across in words:
            cells.setdefault((words[down], words[across]), []).append(100 * float(group.accuracies.mean()))
    if not cells:
        return None
    means = {place: sum(each) / len(each) for place, each in cells.items()}
    low, high = min(means.values()), max(means.values())
    columns = sorted(values[across], key=number_or_text)
    rows = [
        (row, [_cell(means.get((row, column)), low, high) for column in columns])
        for row in sorted(values[down], key=number_or_text)
    ]
    return {"down": down, "across": across, "columns": columns, "rows": rows, "others": swept[2:]}


def _cell(mean: float | None, low: float, high: float) -> tuple[str, float] | None:
    """The text of a cell, and how far it is from the lowest, in [0, 1]."""
    if mean is None:
        return None
    return f"{mean:.2f}", round((mean - low) / (high - low), 3) if high > low else 0.5
