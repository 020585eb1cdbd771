"""Accuracy over labelled images and over compute: where the pictures are drawn, and what they say."""

from __future__ import annotations

import json
from pathlib import Path

from leaderboard_cases import right, write_run

from kd_runner.charts.little_data import over_compute, over_images
from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of
from kd_runner.reports.sweep_page import sweep_page


def sweep(folder: Path, key: str = "student.shots_per_class") -> list[Group]:
    """Two values of a setting, each of which makes ten times as many images, of two seeds."""
    for value, accuracy in ((1, 60), (10, 85)):
        for seed in (0, 1):
            path = write_run(
                folder / f"{value}{seed}",
                [f"{key}={value}", f"seed={seed}"],
                right(accuracy + 2 * seed),
                data={"student": 10 * value, "train": 1000},
                budget={stage: {"images": 1, "macs": {"sum": 1e6 * value}} for stage in ("student", "baseline")},
            )
            content = json.loads((path / "result.json").read_text())
            content["seed"] = seed
            (path / "result.json").write_text(json.dumps(content))
    return list(compared_groups(find_runs([folder])[0], None))


def test_points_are_means_over_seeds_of_students_and_baselines(tmp_path: Path) -> None:
    groups = sweep(tmp_path)
    for chart, places in ((over_images(groups), ("10", "100")), (over_compute(groups), ("1M", "10M"))):
        assert chart is not None
        titles = {title.text for title in chart.root.iter("title")}
        assert titles == {
            f"student.shots_per_class=1, distilled: 61.00 ± 1.41 %, {places[0]}",
            f"student.shots_per_class=10, distilled: 86.00 ± 1.41 %, {places[1]}",
            f"student.shots_per_class=1, alone: 59.00 ± 1.41 %, {places[0]}",
            f"student.shots_per_class=10, alone: 84.00 ± 1.41 %, {places[1]}",
        }
        assert len(list(chart.root.iter("polyline"))) == 2
    page = sweep_page(leaderboard_of([tmp_path], None), [tmp_path], tmp_path)
    assert page.count("the number of labelled images that they learned from") == 2
    assert "Accuracy and compute" in page


def test_nothing_is_drawn_where_images_and_steps_are_the_same(tmp_path: Path) -> None:
    groups = sweep(tmp_path, "temperature.value")
    assert over_images(groups) is not None  # whatever made the students' images differ
    assert over_compute(groups) is None
    assert over_images(groups[:1]) is None
