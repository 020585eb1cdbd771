"""The trials of a search in their order: a point for each, and the best so far as a line."""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.charts.axis import Axis
from kd_runner.charts.curves import TALL, add_stretched_line, draw_axes
from kd_runner.charts.svg import Chart, add, fluid_chart


def search_chart(values: Sequence[float | None], best: Sequence[float | None], label: str) -> Chart | None:
    """The values of an objective over the trials; None where fewer than two trials have one.

    Args:
        values: The objective of each trial; None for a trial without a result.
        best: The best of the trials so far, at each trial; None before the first result and with several objectives.
    """
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    up, across = Axis.around([value for _, value in known]), Axis.around([0, len(values) - 1])
    plot = fluid_chart(TALL, label, "plot")
    numbers = [(position, f"{float(text):g}") for position, text in across.ticks if float(text).is_integer()]
    draw_axes(plot.root, numbers, up.ticks)
    steps: list[tuple[float, float]] = []
    for number, value in enumerate(best):
        if value is not None:
            steps += [(across.at(number), steps[-1][1])] if steps else []
            steps.append((across.at(number), 100 - up.at(value)))
    add_stretched_line(plot.root, steps, "student")
    for number, value in known:
        x, y = f"{across.at(number)}%", f"{round(100 - up.at(value), 2)}%"
        mark = add(plot.root, "circle", cx=x, cy=y, r=4.0, class_="dot")
        add(mark, "title", f"trial {number}: {value:.4g}")
    return plot
