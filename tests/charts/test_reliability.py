"""Reliability: points at their confidence and accuracy, before and after scaling."""

from __future__ import annotations

from typing import Any

import pytest

from kd_runner.charts.reliability import LEFT, SIDE, TOP, reliability, reliability_of

BEFORE = {
    "nll": 0.5, "ece": 0.1, "counts": [0, 10, 40], "confidences": [None, 0.5, 0.9], "accuracies": [None, 0.25, 1.0],
}  # fmt: skip
NETWORK: dict[str, Any] = {"temperature": 2.0, "before": BEFORE, "after": BEFORE | {"ece": 0.05}}


def test_points_are_at_their_confidence_and_accuracy() -> None:
    chart = reliability_of("student", NETWORK)
    places = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in chart.root.iter("circle")]
    expected = [(LEFT + SIDE * x, TOP + SIDE * (1 - y)) for x, y in [(0.5, 0.25), (0.9, 1.0)] * 2]
    assert [number for place in places for number in place] == pytest.approx([n for p in expected for n in p], abs=0.01)
    heights = [float(rect.get("height", "")) for rect in chart.root.iter("rect")]
    assert heights == pytest.approx([SIDE / 4, SIDE])
    label = chart.root.get("aria-label", "")
    assert "as trained: ECE 0.1000, NLL 0.5000; scaled by 2.00: ECE 0.0500, NLL 0.5000" in label
    styles = [line.get("class") for line in chart.root.iter("polyline")]
    assert styles == ["edge", "curve student before", "curve student after"]


def test_a_network_that_makes_no_mistake_is_not_scaled() -> None:
    chart = reliability_of("teacher", {"temperature": None, "before": BEFORE, "after": None})
    assert "nothing to scale by" in chart.root.get("aria-label", "")
    assert len(list(chart.root.iter("polyline"))) == 2


def test_there_is_a_chart_for_each_network() -> None:
    figure = reliability({"networks": {"teacher": NETWORK, "student": NETWORK}})
    assert [next(chart.root.iter("text")).text for chart in figure.charts] == ["teacher", "student"]
