"""The change of each class: the best first, with bars as long as their points."""

from __future__ import annotations

from typing import Any

import pytest

from kd_runner.charts.class_change import class_change


def analysis_of(baseline: list[float | None], student: list[float | None]) -> dict[str, Any]:
    networks = {"baseline": {"class_accuracy": baseline}, "student": {"class_accuracy": student}}
    names = [f"class {number}" for number in range(len(student))]
    return {"classes": names, "test_images": [10] * len(names), "networks": networks}


def test_bars_are_as_long_as_their_points() -> None:
    figure = class_change(analysis_of([0.5, 0.9, None, 0.2], [0.6, 0.5, None, 0.4]))
    assert figure is not None
    (chart,) = figure.charts
    bars = [(rect.get("class"), float(rect.get("width", ""))) for rect in chart.root.iter("rect")]
    assert [style for style, _ in bars] == ["more", "more", "less"]
    lengths = [length for _, length in bars]
    assert [length / lengths[1] for length in lengths] == pytest.approx([2, 1, 4], rel=1e-3)
    texts = ["".join(text.itertext()).partition(")")[0] for text in chart.root.iter("text")]
    assert texts[2:] == ["class 3 (10", "+20.0", "class 0 (10", "+10.0", "class 1 (10", "-40.0"]
    assert chart.root.get("aria-label", "").endswith("class 3: +20.0, class 0: +10.0, class 1: -40.0")
    assert "left out" not in figure.caption


def test_the_smaller_changes_of_many_classes_are_left_out() -> None:
    figure = class_change(analysis_of([0.5] * 40, [0.5 + number / 100 for number in range(40)]))
    assert figure is not None
    assert len(list(figure.charts[0].root.iter("rect"))) == 30
    assert "The 10 classes with smaller changes are left out." in figure.caption


def test_there_is_nothing_to_draw_without_a_baseline() -> None:
    seen = analysis_of([0.5], [0.5])
    del seen["networks"]["baseline"]
    assert class_change(seen) is None
    assert class_change(analysis_of([None], [None])) is None
