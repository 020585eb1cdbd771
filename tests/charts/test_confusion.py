"""Confusion matrices: the right number in each cell, and a picture of a pixel each where there are many."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from made_runs import class_names, made_analysis
from PIL import Image

from kd_runner.charts.confusion import as_png, confusion
from kd_runner.charts.svg import Chart


def analysis_of(teacher: list[list[int]], student: list[list[int]], images: list[int]) -> dict[str, Any]:
    networks = {"teacher": {"confusion": teacher}, "student": {"confusion": student}}
    names = [f"class {number}" for number in range(len(images))]
    return {"classes": names, "confusion_classes": [*range(len(images))], "test_images": images, "networks": networks}


def table(chart: Chart) -> list[list[str]]:
    """The texts of a matrix as a screen reader has them, row by row."""
    rows = [row for row in chart.root if row.get("role") == "row"]
    return [[next(iter(cell.itertext()), "") for cell in row] for row in rows]


def test_the_numbers_in_the_cells_are_percent_of_a_labels_images() -> None:
    teacher, student, difference = confusion(analysis_of([[3, 1], [0, 0]], [[1, 3], [0, 0]], [4, 0])).charts
    assert table(teacher)[1:] == [["class 0", "75", "25"], ["class 1", "", ""]]
    assert table(student)[1:] == [["class 0", "25", "75"], ["class 1", "", ""]]
    assert table(difference)[1:] == [["class 0", "-50", "+50"], ["class 1", "", ""]]
    assert table(teacher)[0][1:] == ["class 0", "class 1"]
    colors = [rect.get("class") for rect in difference.root.iter("rect")]
    assert colors == ["less", "more"]
    opacities = [float(rect.get("fill-opacity", "")) for rect in teacher.root.iter("rect")]
    assert opacities == pytest.approx([0.9 * 0.75, 0.9 * 0.25], abs=0.01)


def test_what_the_caption_says() -> None:
    assert "empty row: here 1 of them" in confusion(analysis_of([[3, 1], [0, 0]], [[1, 3], [0, 0]], [4, 0])).caption
    figure = confusion(made_analysis(class_names(101), per_class=1)[0])
    assert "The 30 most confused of 101 classes, from \u2068class" in figure.caption


def test_many_classes_are_a_picture_of_a_pixel_each() -> None:
    counts = np.eye(20, dtype=int) * 9 + np.roll(np.eye(20, dtype=int), 1, 1)
    seen = analysis_of(counts.tolist(), counts.tolist(), [10] * 20)
    seen |= {"classes": [f"class {number}" for number in range(40)], "test_images": [10] * 40}
    figure = confusion(seen)
    assert "The 20 most confused of 40 classes" in figure.caption
    (image,) = figure.charts[0].root.iter("image")
    pixels = Image.open(io.BytesIO(base64.b64decode(image.get("href", "").partition(",")[2])))
    assert pixels.size == (20, 20)
    assert [np.asarray(pixels)[0, column, 3] for column in (0, 1, 2)] == [229, 25, 0]  # 90 %, 10 % and none
    assert len([text for text in figure.charts[0].root.iter("text") if text.get("role") == "columnheader"]) == 20


def test_shares_below_0_are_orange() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(as_png(np.array([[1.0, -0.5]]))))))
    assert pixels[0].tolist() == [[37, 99, 160, 255], [196, 84, 38, 127]]


@pytest.mark.parametrize("counts", [[[1, 2, 3]], [[5, 0], [0, 4]]])
def test_matrices_that_do_not_fit_are_refused(counts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"must be .classes, classes. and count each test image once"):
        confusion(analysis_of(counts, [[4, 0], [0, 4]], [4, 4]))
