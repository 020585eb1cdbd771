"""Groups over seeds: pairs on the same test images, gains over baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kd_runner.comparison.groups import Group, Pairs, compare_groups, gain_of
from kd_runner.files.results import Run

IMAGES = 200


def stage(right: int) -> dict[str, Any]:
    return {"accuracy": right / IMAGES}


def run(seed: int, student: int, baseline: int | None = None) -> Run:
    result: dict[str, Any] = {"student": stage(student), "baseline": None if baseline is None else stage(baseline)}
    return Run(Path(), (), (f"seed={seed}",), result)


def test_numbers_of_the_runs_that_have_them() -> None:
    group = Group((), [run(0, 150, 140), run(1, 160)])
    assert group.accuracies.tolist() == [0.75, 0.8]
    assert group.gains.tolist() == pytest.approx([0.05])
    assert group.values("baseline", "accuracy").tolist() == [0.7]
    assert group.values("student", "nothing").tolist() == []
    assert group.baseline.accuracies.tolist() == [0.7]


def test_over_seeds_the_gain_is_a_paired_t_test() -> None:
    pairs = [(150, 140), (160, 141), (155, 152)]
    gain = gain_of(Group((), [run(seed, *pair) for seed, pair in enumerate(pairs)]))
    assert gain is not None
    students, baselines = np.array(pairs).T / IMAGES
    wanted = stats.ttest_rel(students, baselines)
    assert (gain.seeds, gain.over) == (3, "seeds")
    assert gain.p == pytest.approx(wanted.pvalue)
    low, high = wanted.confidence_interval()
    assert (gain.low, gain.high) == (pytest.approx(low), pytest.approx(high))


def test_without_baselines_or_images_nothing_is_claimed() -> None:
    assert gain_of(Group((), [run(0, 150)])) is None
    alone = gain_of(Group((), [run(0, 150, 140)]))
    assert alone is not None
    assert (alone.mean, alone.low, alone.p, alone.over) == (pytest.approx(0.05), None, None, None)
    assert compare_groups(Group((), [run(0, 150)]), Group((), [run(1, 150)])) == {}


def test_pairs_are_tested_by_their_signs() -> None:
    pairs = Pairs(np.array([2, 1, 1, 0, 0, -1, 1, 1]), 2)
    assert pairs.p == pytest.approx(stats.binomtest(5, 6).pvalue)
