"""Single images with what networks say of them."""

from __future__ import annotations

from typing import Any

import pytest

from kd_runner.charts.examples import TARGET_LEFT, TARGET_WIDTH, checked_thumbnail, disagreements, soft_targets

PNG = "iVBORw0KGgo="  # its first bytes
NAMES = ["cat", "dog", "fox"]


def guess(number: int, probability: float) -> dict[str, Any]:
    return {"class": number, "probability": probability}


def test_a_wrong_prediction_is_marked() -> None:
    example = {"index": 7, "label": 1, "image": PNG, "teacher": guess(1, 0.9), "student": guess(2, 0.4)}
    (chart,) = disagreements({"classes": NAMES, "disagreements": [example]}).charts
    lines = ["".join(part.text or "" for part in text.iter("tspan")) for text in chart.root.iter("text")]
    assert lines == ["label: dog", "teacher: dog, 90\u00a0%", "student: fox, 40\u00a0%"]
    assert [text.get("class") for text in chart.root.iter("text")] == ["small", "small", "small wrong"]
    assert chart.root.get("aria-label") == "test image 7, label: dog; teacher: dog, 90\u00a0%; student: fox, 40\u00a0%"


def test_bars_of_soft_targets_are_as_long_as_they_are_probable() -> None:
    example = {"index": 3, "label": 2, "image": PNG, "top": [guess(2, 0.5), guess(0, 0.25)]}
    seen = {"classes": NAMES, "soft_targets": {"temperature": 4.0, "examples": [example]}}
    figure = soft_targets(seen)
    assert "at temperature 4; the label's bar is blue" in figure.caption
    bars = [(rect.get("class"), float(rect.get("width", ""))) for rect in figure.charts[0].root.iter("rect")]
    width = TARGET_WIDTH - TARGET_LEFT
    assert bars == [("guess label", pytest.approx(width / 2)), ("guess", pytest.approx(width / 4))]


@pytest.mark.parametrize("image", ["", "aGVsbG8=", "not base64!"])
def test_what_is_no_png_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match=r"PNG|base64|padding"):
        checked_thumbnail(image)
