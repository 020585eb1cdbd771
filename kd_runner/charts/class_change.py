"""The student's gain on each class over the same network without a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_runner.charts.figure import Figure
from kd_runner.charts.svg import add, add_text, chart, fit_text
from kd_runner.evaluation.analysis import class_names, most_changed

NAMES, BARS, NUMBERS = 178.0, 212.0, 50.0  # widths of the columns
HEADER, ROW = 20.0, 20.0  # heights


def class_change(analysis: Mapping[str, Any]) -> Figure | None:
    """The student's accuracy less the baseline's, by class, the largest changes if there are many.

    Raises:
        ValueError: there is not an accuracy for each class.
    """
    if "baseline" not in analysis["networks"]:
        return None
    change, chosen = most_changed(analysis)
    if len(change) != len(analysis["classes"]):
        raise ValueError("there must be an accuracy for each class")
    if not len(chosen):
        return None
    low, high = min(0.0, float(change[chosen].min())), max(0.0, float(change[chosen].max()))
    scale, names = BARS / ((high - low) or 1.0), class_names(analysis)
    spoken = [f"{names[number]['full']}: {change[number]:+.1f}" for number in chosen.tolist()]
    bars = chart(
        NAMES + BARS + NUMBERS, HEADER + ROW * len(chosen), f"points of accuracy by class: {', '.join(spoken)}"
    )
    add_text(bars.root, NAMES - 4, HEADER / 2, "class (test images)", "small soft end")
    add_text(bars.root, bars.width, HEADER / 2, "points over the baseline", "small soft end")
    zero = NAMES + 4 - low * scale
    for row, number in enumerate(chosen.tolist()):
        points, middle = float(change[number]), HEADER + (row + 0.5) * ROW
        count = f" ({analysis['test_images'][number]})"
        name = fit_text(names[number]["middle"], NAMES - 8.0 * len(count))
        line = add_text(bars.root, NAMES - 4, middle, "", "end")
        add(line, "tspan", name, class_="name")
        add(line, "tspan", count, class_="soft")
        add(line, "title", names[number]["full"])
        width, style = abs(points) * scale, "more" if points >= 0 else "less"
        start = zero + min(points, 0.0) * scale
        add(bars.root, "rect", x=start, y=middle - 7, width=width, height=14, class_=style, fill_opacity=0.8)
        add_text(bars.root, bars.width, middle, f"{points:+.1f}", "end")
    add(bars.root, "line", x1=zero, x2=zero, y1=HEADER, y2=bars.height, class_="zero")
    return Figure([bars], _caption(int((~np.isnan(change)).sum()) - len(chosen)))


def _caption(left_out: int) -> str:
    caption = (
        "Points of accuracy of the distilled student over the same network trained on labels alone, by class (number "
        "of test images)."
    )
    return f"{caption} The {left_out} classes with smaller changes are left out." if left_out else caption
