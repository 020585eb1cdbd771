"""The picture of a search: a point for each trial with a result, and the best so far."""

from __future__ import annotations

from kd_runner.charts.search_chart import search_chart


def test_a_point_for_each_trial_and_steps_to_the_best_so_far() -> None:
    drawn = search_chart([None, 70.0, 60.0, 80.0], [None, 70.0, 70.0, 80.0], "validation accuracy over the trials")
    assert drawn is not None
    titles = [title.text for title in drawn.root.iter("title")]
    assert titles == ["trial 1: 70", "trial 2: 60", "trial 3: 80"]
    (line,) = drawn.root.iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [y for _, y in points] == [points[0][1]] * 4 + [points[-1][1]]  # level to trial 2 and to trial 3, then up
    assert points[-1][1] < points[0][1]
    assert [x for x, _ in points] == sorted(x for x, _ in points)


def test_one_trial_is_no_picture() -> None:
    assert search_chart([70.0, None], [70.0, 70.0], "") is None
