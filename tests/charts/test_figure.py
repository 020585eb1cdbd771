"""Figures: several charts as one, with their caption."""

from __future__ import annotations

from kd_runner.charts.figure import Figure, isolate
from kd_runner.charts.svg import chart


def test_a_figure_as_one_chart() -> None:
    whole = Figure([chart(100, 50, "a"), chart(100, 50, "b")], "What they show.", columns=1).as_one_chart()
    assert whole.root.attrib["aria-label"] == "What they show."
    assert (whole.width, whole.height) == (140, 160)


def test_a_name_in_a_sentence() -> None:
    assert f"from {isolate('חתול')} on" == "from \u2068חתול\u2069 on"
