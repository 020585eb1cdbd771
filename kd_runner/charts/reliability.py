"""Reliability: how often a network is right when it says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_runner.charts.figure import Figure
from kd_runner.charts.svg import Chart, Element, add, add_text, chart
from kd_runner.formats import four_digits

SIDE, LEFT, TOP, BOTTOM = 236.0, 34.0, 60.0, 34.0
CAPTION = (
    "Accuracy (up) by confidence (across) on the test images, each from 0 to 1; on the diagonal, confidence can be "
    "trusted. Solid: as trained. Dashed: after temperature scaling with one temperature, fitted on the validation "
    "images (Guo et al. 2017). Bars: how many images have that confidence as trained."
)


def reliability(analysis: Mapping[str, Any]) -> Figure:
    """Accuracy by confidence of each network, as trained and after temperature scaling."""
    return Figure([reliability_of(role, network) for role, network in analysis["networks"].items()], CAPTION)


def reliability_of(role: str, network: Mapping[str, Any]) -> Chart:
    """Accuracy by confidence of one network."""
    lines = [f"as trained: {_numbers(network['before'])}"]
    if network.get("after") is None:
        lines.append("no validation image is wrong: nothing to scale by")
    else:
        lines.append(f"scaled by {network['temperature']:.2f}: {_numbers(network['after'])}")
    label = f"accuracy by confidence of the {role}; {'; '.join(lines)}"
    figure = chart(LEFT + SIDE + 14, TOP + SIDE + BOTTOM, label)
    for height, text, style in ((8, role, "bold"), (26, lines[0], "small soft"), (42, lines[1], "small soft")):
        add_text(figure.root, 0.0, height, text, style)
    _draw_counts(figure.root, network["before"]["counts"])
    _draw_axes(figure.root)
    for state in ("before", "after"):
        if network.get(state) is not None:
            _draw_curve(figure.root, network[state], role, state)
    return figure


def _numbers(bins: Mapping[str, Any]) -> str:
    return f"ECE {four_digits(bins['ece'])}, NLL {four_digits(bins['nll'])}"


def _draw_counts(root: Element, counts: Sequence[float]) -> None:
    """Draw how many images each bin has, as faint bars: a bin of three images says little."""
    width, largest = SIDE / len(counts), max(1.0, *counts)
    for number, count in enumerate(counts):
        if count > 0:
            height = SIDE * count / largest
            add(
                root, "rect", x=LEFT + number * width, y=TOP + SIDE - height, width=width, height=height, class_="count"
            )


def _draw_axes(root: Element) -> None:
    right, floor = LEFT + SIDE, TOP + SIDE
    add(root, "line", x1=LEFT, y1=floor, x2=right, y2=TOP, class_="grid")
    add(root, "polyline", points=f"{LEFT:g},{TOP:g} {LEFT:g},{floor:g} {right:g},{floor:g}", class_="edge")
    add_text(root, LEFT + SIDE / 2, floor + 26, "confidence", "small soft middle")
    turn = f"rotate(-90 6 {TOP + SIDE / 4:g})"
    add_text(root, 6.0, TOP + SIDE / 4, "accuracy", "small soft middle", transform=turn)
    for share in (0, 0.5, 1):
        add_text(root, LEFT + share * SIDE, floor + 11, f"{share:g}", "small soft middle")
        add_text(root, LEFT - 6, floor - share * SIDE, f"{share:g}", "small soft end")


def _draw_curve(root: Element, bins: Mapping[str, Sequence[float | None]], role: str, state: str) -> None:
    pairs = zip(bins["confidences"], bins["accuracies"], strict=True)
    points = [(LEFT + SIDE * x, TOP + SIDE - SIDE * y) for x, y in pairs if x is not None and y is not None]
    style = f"{role} {state}"
    add(root, "polyline", points=" ".join(f"{x:.5g},{y:.5g}" for x, y in points), class_=f"curve {style}")
    for x, y in points:
        add(root, "circle", cx=x, cy=y, r=2.2, class_=f"dot {style}")
