"""Values over epochs: points at their places, and no chart of one value."""

from __future__ import annotations

from kd_runner.charts.axis import Axis
from kd_runner.charts.curves import closeness, curves, over_epochs


def test_lines_go_through_their_values() -> None:
    drawn = curves({"teacher": [10.0, 20.0, 40.0], "student": [30.0]}, "a label", 100)
    assert drawn is not None
    assert drawn.names == ["teacher"]
    (line,) = drawn.chart.root.iter("polyline")
    up, across = Axis.around([10, 40]), Axis.around([1, 3])
    places = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
    assert places == [(across.at(epoch), round(100 - up.at(value), 4)) for epoch, value in ((1, 10), (2, 20), (3, 40))]
    assert line.get("class") == "curve stretched teacher"
    texts = [text.text for text in drawn.chart.root.iter("text")]
    assert texts == ["1", "2", "3", "10", "15", "20", "25", "30", "35", "40"]


def test_one_epoch_is_no_line() -> None:
    assert curves({"student": [30.0]}, "a label", 100) is None
    assert over_epochs({}) is None
    assert over_epochs({"epochs": {"student": [{"val_accuracy": 0.5}]}}) is None


def test_closeness_has_a_chart_for_each_measure() -> None:
    epochs = [{"val_agreement": 0.5, "val_kl_to_teacher": 1.0}, {"val_agreement": 0.75, "val_kl_to_teacher": 0.5}]
    assert [title for title, _ in closeness({"epochs": {"student": epochs}})] == [
        "agreement with the teacher, %",
        "KL to it, nats",
    ]
    only = [{"val_agreement": share} for share in (0.5, 0.75)]
    assert len(closeness({"epochs": {"student": only}})) == 1
    assert closeness({}) == []
