"""The charts of a leaderboard: every run by its row, and accuracy over size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kd_runner.charts.axis import Axis
from kd_runner.charts.curves import TALL, add_stretched_line, draw_axes
from kd_runner.charts.svg import Chart, Element, add, add_text, fluid_chart
from kd_runner.comparison.groups import Group, accuracies_to_choose_by
from kd_runner.files.stages import STAGES

MOST_STRIPS = 40  # rows of the chart of all runs
STRIP = 30.0  # height of a row


@dataclass(frozen=True)
class Strips:
    """The runs of a leaderboard's rows.

    Args:
        rows: Rank, name and chart of each row.
        scale: The values below the rows.
        left_out: Number of rows beyond these.
    """

    rows: list[tuple[int, str, Chart]]
    scale: Chart
    left_out: int


def strips(groups: Sequence[Group]) -> Strips | None:
    """Accuracy in percent of each group's runs, a point for each seed, beside their baselines and teachers."""
    shown = list(groups[:MOST_STRIPS])
    accuracies = [{stage: 100 * group.values(stage, "accuracy") for stage in STAGES} for group in shown]
    values = [value for by_stage in accuracies for stage in STAGES for value in by_stage[stage]]
    if not values:
        return None
    axis = Axis.around(values)
    scale = fluid_chart(21, "", "scale")
    for position, text in axis.ticks:
        add_text(scale.root, f"{position}%", 10.0, text, "soft middle")
    rows = []
    for rank, (group, by_stage) in enumerate(zip(shown, accuracies, strict=True), 1):
        strip = fluid_chart(STRIP, group.name)
        for position, _ in axis.ticks:
            add(strip.root, "line", x1=f"{position}%", x2=f"{position}%", y1="0", y2="100%", class_="grid")
        for stage in STAGES:
            for value in by_stage[stage]:
                draw_mark(strip.root, stage, f"{axis.at(value)}%", f"{stage} {value:.2f} %")
        mean = f"{axis.at(100 * (group.mean('student', 'accuracy') or 0.0))}%"
        add(strip.root, "line", x1=mean, x2=mean, y1="15%", y2="85%", class_="mean")
        rows.append((rank, group.name, strip))
    return Strips(rows, scale, len(groups) - len(shown))


def draw_mark(root: Element, stage: str, x: str, title: str) -> None:
    """Draw the point of a run: a disc for its student, a ring below for its baseline, a line above for its teacher."""
    style = f"run-{stage}"
    if stage == "teacher":
        mark = add(root, "line", x1=x, x2=x, y1="12%", y2="42%", class_=style)
    else:
        height, radius = ("78%", 3.6) if stage == "baseline" else ("50%", 4.5)
        mark = add(root, "circle", cx=x, cy=height, r=radius, class_=style)
    add(mark, "title", title)


@dataclass(frozen=True)
class Sized:
    """A group by the size of its student.

    Args:
        accuracy: The mean accuracy on the validation images, in percent (`accuracies_to_choose_by`).
        front: No smaller student is better.
    """

    rank: int
    name: str
    parameters: float
    accuracy: float
    front: bool


def by_size(groups: Sequence[Group]) -> list[Sized]:
    """The groups whose students' sizes are known, the smallest first, of equal ones the best first."""
    accuracies, _ = accuracies_to_choose_by(groups)
    sized = sorted(
        (float(group.values("student", "parameters").mean()), -100 * accuracy, rank, group.name)
        for rank, (group, accuracy) in enumerate(zip(groups, accuracies, strict=True), 1)
        if len(group.values("student", "parameters"))
    )
    best, points = -math.inf, []
    for parameters, negative, rank, name in sized:
        points.append(Sized(rank, name, parameters, -negative, front=-negative > best))
        best = max(best, -negative)
    return points


@dataclass(frozen=True)
class Pareto:
    """Accuracy over size, and the groups that no smaller one beats, the smallest first.

    Args:
        split: The images that the accuracy is of.
    """

    chart: Chart
    front: list[Sized]
    split: str


def pareto(groups: Sequence[Group]) -> Pareto | None:
    """Accuracy over parameters, the groups that no smaller one beats joined by lines; None of one size alone."""
    points = by_size(groups)
    if len({point.parameters for point in points}) < 2:
        return None
    front = [point for point in points if point.front]
    _, split = accuracies_to_choose_by(groups)
    across = Axis.around([point.parameters for point in points], logarithmic=True)
    up = Axis.around([point.accuracy for point in points])
    plot = fluid_chart(TALL, f"{split} accuracy over parameters", "plot")
    draw_axes(plot.root, across.ticks, up.ticks)
    positions = {point.rank: (across.at(point.parameters), round(100 - up.at(point.accuracy), 2)) for point in points}
    add_stretched_line(plot.root, (positions[point.rank] for point in front), "student")
    for point in sorted(points, key=lambda point: point.rank):
        x, y = (f"{position}%" for position in positions[point.rank])
        style, radius = ("dot", 5.0) if point.front else ("dot teacher", 3.5)
        mark = add(plot.root, "circle", cx=x, cy=y, r=radius, class_=style)
        numbers = f"{point.accuracy:.2f} %, {point.parameters:,.0f} parameters"
        add(mark, "title", f"{point.rank}: {point.name}: {numbers}")
    for point in front:
        x, y = (f"{position}%" for position in positions[point.rank])
        add(plot.root, "text", str(point.rank), x=x, y=y, dx="-.5em", dy="-.6em", class_="bold end")
    return Pareto(plot, front, split)
