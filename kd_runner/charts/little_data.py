"""Accuracy over the number of labelled images that students learn from, and over the compute of their training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kd_runner.charts.axis import Axis
from kd_runner.charts.curves import TALL, add_stretched_line, draw_axes
from kd_runner.charts.svg import Chart, Element, add, fluid_chart
from kd_runner.comparison.groups import Group
from kd_runner.formats import short_count

TAUGHT_BY = {"student": "distilled", "baseline": "alone"}
DATA = ("student.fraction", "student.shots_per_class")  # settings that choose how many images there are
BUDGETS = ("student.epochs", "student.steps")


@dataclass(frozen=True)
class Point:
    """The runs of a group by their accuracy on the test images.

    Args:
        stage: 'student' or 'baseline'.
        line: The settings of the group without those that choose images and steps: points of one line have the same.
        x: The value that the accuracy is shown over.
        mean, spread: Mean and standard deviation over the seeds, in percent; 0 for one run.
        name: The name of the group.
    """

    stage: str
    line: str
    x: float
    mean: float
    spread: float
    name: str


def over_images(groups: Sequence[Group]) -> Chart | None:
    """Test accuracy over the number of labelled images; None where all students have equally many."""
    points = _points(groups, lambda group, stage: group.values("data", "student"))
    return _chart(points, "labelled images") if len({point.x for point in points}) > 1 else None


def over_compute(groups: Sequence[Group]) -> Chart | None:
    """Test accuracy over the multiply-accumulates of a training; None where no setting of images or steps differs."""
    values = [dict(word.partition("=")[::2] for word in group.words) for group in groups]
    if not any(len({of_group.get(key) for of_group in values}) > 1 for key in (*DATA, *BUDGETS)):
        return None
    points = _points(groups, lambda group, stage: group.values("budget", stage, "macs", "sum"))
    points = [point for point in points if point.x > 0]
    return _chart(points, "multiply-accumulates of the training") if len({p.x for p in points}) > 1 else None


def _points(groups: Sequence[Group], values_of: Callable[[Group, str], np.ndarray]) -> list[Point]:
    """The points of students and baselines, of each line from left to right."""
    points = []
    for group in groups:
        line = " ".join(word for word in group.words if word.partition("=")[0] not in (*DATA, *BUDGETS))
        for stage in TAUGHT_BY:
            accuracies, values = 100 * group.values(stage, "accuracy"), values_of(group, stage)
            mean = group.mean(stage, "accuracy")
            if mean is not None and len(values):
                spread = float(accuracies.std(ddof=1)) if len(accuracies) > 1 else 0.0
                point = Point(stage, line, float(values.mean()), 100 * mean, spread, group.name)
                points.append(point)
    return sorted(points, key=lambda point: (point.stage, point.line, point.x))


def _chart(points: Sequence[Point], across_name: str) -> Chart:
    across = Axis.around([point.x for point in points], logarithmic=True)
    up = Axis.around([point.mean + sign * point.spread for point in points for sign in (-1, 1)])
    plot = fluid_chart(TALL, f"test accuracy over {across_name}", "plot")
    draw_axes(plot.root, across.ticks, up.ticks)
    for stage in TAUGHT_BY:
        for line in dict.fromkeys(point.line for point in points if point.stage == stage):
            of_line = [point for point in points if (point.stage, point.line) == (stage, line)]
            positions = [(across.at(point.x), 100 - up.at(point.mean)) for point in of_line]
            add_stretched_line(plot.root, positions, stage)
    for point in points:
        _draw(plot.root, point, across, up)
    return plot


def _draw(root: Element, point: Point, across: Axis, up: Axis) -> None:
    """Draw the mean of a point, and a line over one standard deviation to either side."""
    x = f"{across.at(point.x)}%"
    ends = [f"{round(100 - up.at(point.mean + sign * point.spread), 2)}%" for sign in (-1, 1)]
    if point.spread:
        add(root, "line", x1=x, x2=x, y1=ends[0], y2=ends[1], class_=f"curve {point.stage}")
    mark = add(root, "circle", cx=x, cy=f"{round(100 - up.at(point.mean), 2)}%", r=4.5, class_=f"run-{point.stage}")
    numbers = f"{point.mean:.2f} ± {point.spread:.2f} %, {short_count(point.x)}"
    add(mark, "title", f"{point.name}, {TAUGHT_BY[point.stage]}: {numbers}")
