"""Values over the epochs of a run, a line for each stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.charts.axis import Axis
from kd_runner.charts.svg import Chart, Element, add, add_text, fluid_chart
from kd_runner.files.scores import ACCURACY, MEAN_AVERAGE_PRECISION, has_val_map, val_score

TALL, LOW = 320.0, 176.0  # heights of a chart alone, and of one beside others
CLOSENESS = (("val_agreement", 100.0, "agreement with the teacher, %"), ("val_kl_to_teacher", 1.0, "KL to it, nats"))


@dataclass(frozen=True)
class Curves:
    """Lines in a chart, and their names, which are also their classes in style.css."""

    chart: Chart
    names: Sequence[str]


def over_epochs(analysis: Mapping[str, Any]) -> Curves | None:
    """Validation accuracy over the epochs, in percent, a line for each stage that was trained."""
    series = {
        stage: [100 * val_score(epoch) for epoch in epochs] for stage, epochs in analysis.get("epochs", {}).items()
    }
    has_map = any(has_val_map(epochs) for epochs in analysis.get("epochs", {}).values())
    words = MEAN_AVERAGE_PRECISION if has_map else ACCURACY
    return curves(series, f"validation {words.name} over epochs", TALL)


def closeness(analysis: Mapping[str, Any]) -> list[tuple[str, Curves]]:
    """The student's closeness to its teacher over its epochs: a title and a chart for each measure."""
    student = analysis.get("epochs", {}).get("student", [])
    charts = [
        (title, curves({"student": [scale * epoch[key] for epoch in student if key in epoch]}, title, LOW))
        for key, scale, title in CLOSENESS
    ]
    return [(title, drawn) for title, drawn in charts if drawn]


def curves(series: Mapping[str, Sequence[float]], label: str, height: float) -> Curves | None:
    """Values over epochs, from 1, a line for each name; None where none has several values."""
    series = {name: values for name, values in series.items() if len(values) > 1}
    if not series:
        return None
    up = Axis.around([value for values in series.values() for value in values])
    across = Axis.around([1, max(map(len, series.values()))])
    plot = fluid_chart(height, label, "plot")
    epochs = [(position, f"{float(text):g}") for position, text in across.ticks if float(text).is_integer()]
    draw_axes(plot.root, epochs, up.ticks)
    for name, values in series.items():
        points = ((across.at(epoch), 100 - up.at(value)) for epoch, value in enumerate(values, 1))
        add_stretched_line(plot.root, points, name)
    return Curves(plot, list(series))


def draw_axes(root: Element, across: Iterable[tuple[float, str]], up: Iterable[tuple[float, str]]) -> None:
    """Draw a grid, with the texts of its lines left of the chart and below it, where its page leaves room."""
    add(root, "line", x1="0", x2="0", y1="0", y2="100%", class_="grid")
    add(root, "line", x1="0", x2="100%", y1="100%", y2="100%", class_="grid")
    for position, text in across:
        add(root, "line", x1=f"{position}%", x2=f"{position}%", y1="0", y2="100%", class_="grid")
        add(root, "text", text, x=f"{position}%", y="100%", dy="1.4em", class_="soft middle")
    for position, text in up:
        height = f"{round(100 - position, 2)}%"
        add(root, "line", x1="0", x2="100%", y1=height, y2=height, class_="grid")
        add_text(root, 0.0, height, text, "soft end", dx=-8.0)


def add_stretched_line(root: Element, points: Iterable[tuple[float, float]], style: str) -> None:
    """Draw a line through points whose places are in percent of the chart's width and height."""
    field = add(root, "svg", width="100%", height="100%", viewBox="0 0 100 100", preserveAspectRatio="none")
    text = " ".join(f"{x:g},{y:g}" for x, y in points)
    add(field, "polyline", points=text, class_=f"curve stretched {style}")
