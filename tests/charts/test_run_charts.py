"""All pictures of a run: each by itself, whatever is missing, with any number of classes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from made_runs import class_names, made_analysis

from kd_runner.charts.run_charts import PICTURES, run_charts
from kd_runner.tracking.dashboard import FIGURES


def test_pictures_fail_one_by_one() -> None:
    drawn, failed = run_charts(made_analysis(class_names(4))[0])
    assert failed == []
    assert set(drawn) == set(PICTURES)
    assert all(drawn.values())
    drawn, failed = run_charts({"classes": ["a"]})
    assert "confusion matrices" in failed
    assert drawn["accuracy"] is None


@pytest.mark.parametrize("count", [2, 12, 13, 31, 101])
@pytest.mark.parametrize("hard", [False, True])
def test_figures_of_any_number_of_classes(count: int, hard: bool) -> None:
    seen, _ = made_analysis(class_names(count, hard), per_class=1)
    for figure_of in FIGURES.values():
        figure = figure_of(seen)
        assert figure is not None
        sheet = figure.as_one_chart()
        assert max(sheet.width, sheet.height) <= 2400
        ElementTree.fromstring(str(sheet))
        assert all(chart.width <= 480 for chart in figure.charts)


@pytest.mark.parametrize("untested", [[], [1], [0, 1, 2]])
def test_figures_without_test_images_of_some_classes(untested: list[int]) -> None:
    seen, _ = made_analysis(["two\nlines", "", *class_names(3)], untested=untested, always=4)
    assert all(figure_of(seen) is not None for figure_of in FIGURES.values())
