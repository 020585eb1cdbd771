"""The charts of a leaderboard: rows of runs, and the students that no smaller one beats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from leaderboard_cases import right, write_run

from kd_runner.charts.sweep_charts import by_size, pareto, strips
from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group
from kd_runner.files.results import find_runs


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    """Four rows of two seeds, of students with 1,000, 2,000 and 3,000 parameters; the third row is the worst."""
    for number, (value, accuracy) in enumerate(((1, 80), (2, 85), (3, 70), (4, 90))):
        for seed in (0, 1):
            words = [f"temperature.value={value}", f"seed={seed}"]
            folder = write_run(tmp_path / f"{number}{seed}", words, right(accuracy + seed), seed=seed)
            result = json.loads((folder / "result.json").read_text())
            result["student"]["parameters"] = 1000 * min(3, 1 + number)
            (folder / "result.json").write_text(json.dumps(result))
    return list(compared_groups(find_runs([tmp_path])[0], None))


def test_no_smaller_student_beats_those_of_the_front(groups: list[Group]) -> None:
    points = by_size(groups)
    assert [(point.parameters, point.front) for point in points] == [
        (1000, True),
        (2000, True),
        (3000, True),
        (3000, False),
    ]
    for point in points:
        beaten = any(other.parameters <= point.parameters and other.accuracy > point.accuracy for other in points)
        assert point.front is not beaten
    drawn = pareto(groups)
    assert drawn is not None
    assert [point.accuracy for point in drawn.front] == [80.5, 85.5, 90.5]
    titles = [title.text for title in drawn.chart.root.iter("title")]
    assert titles[0] == f"1: {groups[0].name}: 90.50 %, 3,000 parameters"
    assert pareto(groups[:1]) is None


def test_strips_have_a_mark_for_each_network(groups: list[Group]) -> None:
    drawn = strips(groups)
    assert drawn is not None
    assert [(rank, name) for rank, name, _ in drawn.rows] == [
        (rank, group.name) for rank, group in enumerate(groups, 1)
    ]
    titles = [title.text for title in drawn.rows[0][2].root.iter("title")]
    assert [title for title in titles if str(title).startswith("student")] == ["student 90.00 %", "student 91.00 %"]
    assert drawn.left_out == 0
    assert strips([]) is None
    many = strips(groups * 11)
    assert many is not None
    assert (len(many.rows), many.left_out) == (40, 4)
