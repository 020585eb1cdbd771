"""When a gain is told as a share of the gap to the teacher, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_runner.comparison.gap import gap, gap_in, gap_of, in_points
from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group
from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import Run
from kd_runner.reports.leaderboard import Leaderboard, markdown, rows, terminal_text
from kd_runner.reports.summary import relative_count, sentences
from kd_runner.reports.verdict import verdict_of

NO_GAP = "the teacher is not better than the baseline on the test images, so there is no gap to close"


def result_of(teacher: int, baseline: int, student: int, images: int = 1000) -> dict[str, Any]:
    """A result in which each is right on that many of the images, the easier ones first."""
    stages = {}
    for stage, count in (("teacher", teacher), ("baseline", baseline), ("student", student)):
        correct = np.arange(images) < count
        stages[stage] = {"accuracy": float(correct.mean()), "correct": pack_bits(torch.from_numpy(correct))}
    return stages


@pytest.mark.parametrize(
    ("teacher", "baseline", "student", "share", "reason"),
    [
        (0.95, 0.90, 0.93, 0.6, ""),
        (0.95, 0.90, 0.90, 0.0, ""),
        (0.95, 0.90, 0.97, 1.4, ""),
        (0.95, 0.90, 0.888, None, "the student fell below its baseline by 1.20 points"),
        (0.90, 0.90, 0.95, None, NO_GAP),
        (0.60, 0.90, 0.95, None, NO_GAP),
        (0.60, 0.90, 0.85, None, NO_GAP),
        (0.9049, 0.90, 0.95, None, "the gap of 0.49 points to the teacher is too small to take a share of"),
        (0.9051, 0.90, 0.95, 0.05 / 0.0051, ""),
        (0.1 + 0.2, 0.3, 0.5, None, NO_GAP),  # equal but for rounding
    ],
)
def test_the_rule(teacher: float, baseline: float, student: float, share: float | None, reason: str) -> None:
    found = gap(teacher, baseline, student)
    assert found.gain == pytest.approx(student - baseline)
    assert found.share == (None if share is None else pytest.approx(share))
    assert found.reason == reason
    assert bool(found.kind) is bool(reason)


@pytest.mark.parametrize(("net", "certain"), [(5, False), (6, True)])
def test_a_gap_of_a_handful_of_images_is_within_chance(net: int, certain: bool) -> None:
    """Of 5 images that one alone is right on, p is 2 / 2⁵ = 0.0625; of 6 it is 0.03."""
    found = gap_in(result_of(300 + net, 300, 302, images=360))
    assert found is not None
    assert (found.share is not None) is certain
    if not certain:
        assert found.reason == "the gap of 1.39 points to the teacher is within chance on 360 test images"
        (sentence, *_) = sentences(result_of(300 + net, 300, 302, images=360), 0)
        assert sentence == f"Distillation gave +0.56 points over the baseline; {found.reason}."


def test_over_seeds_it_is_the_share_of_the_mean_gain_in_the_mean_gap() -> None:
    results = [result_of(900, 800, 810), result_of(900, 700, 860)]
    runs = [Run(Path(str(seed)), ("a",), (str(seed), "0"), result) for seed, result in enumerate(results)]
    found = gap_of(Group(("a",), runs))
    assert found is not None
    assert found.share == pytest.approx((0.835 - 0.75) / (0.9 - 0.75))
    assert found.share != pytest.approx(np.mean([0.1, 0.8]))


@pytest.mark.parametrize(("spread", "share"), [(0, 0.5), (300, None)])
def test_over_several_data_seeds_the_gap_is_as_sure_as_the_seeds_say(spread: int, share: float | None) -> None:
    """The teacher is 40 points better on the images of the first data seed; on the others it may be worse."""
    runs = []
    for data_seed, teacher in enumerate([900, 860 - spread, 840 - spread]):
        made = result_of(teacher, 500, (teacher + 500) // 2 if share else 505)
        for stage in ("teacher", "baseline", "student"):
            made[stage]["correct"]["of"] = f"images {data_seed}"
        runs.append(Run(Path(str(data_seed)), ("a",), ("0", str(data_seed)), made))
    found = gap_of(Group(("a",), runs))
    assert found is not None
    assert found.share == (share and pytest.approx(share))
    assert found.reason == ("" if share else "the gap of 16.67 points to the teacher is within chance over 3 runs")


def test_without_a_baseline_or_a_teacher_there_is_none() -> None:
    for stage in ("teacher", "baseline"):
        assert gap_in(result_of(900, 800, 850) | {stage: None}) is None


def test_the_leaderboard_says_it_too(tmp_path: Path) -> None:
    cases = {"good": (950, 800, 900), "fell": (950, 800, 790), "worse": (700, 800, 780), "fell2": (950, 800, 770)}
    runs = [
        Run(tmp_path, (f"distillation={name}",), ("0", "0"), result_of(*numbers)) for name, numbers in cases.items()
    ]
    groups = compared_groups(runs)
    by_name = {row["settings"].partition("=")[2]: row for row in rows(groups)}
    assert by_name["good"]["gap_closed"] == pytest.approx(2 / 3)
    assert by_name["good"]["gap_note"] == ""
    assert [by_name[name]["gap_closed"] for name in ("fell", "worse", "fell2")] == [None] * 3
    assert by_name["fell"]["gap_note"] == "the student fell below its baseline by 1.00 points"
    assert by_name["worse"]["gap_note"] == NO_GAP
    leaderboard = Leaderboard(groups, [], list(rows(groups)), verdict_of(groups))
    said = f"Gap closed is no number (–) where the student fell below its baseline (rows 2, 4); where {NO_GAP} (row 3)."
    for text in (terminal_text(leaderboard, None), markdown(leaderboard)):
        assert said in text
        assert "67 %" in text
        assert "-" not in [cell.strip()[:1] for cell in text.split() if cell.endswith("%")]


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.012, "1.20 points"), (0.00002, "0.002 points"), (0.0, "0.00 points"), (1, "100.00 points")],
)
def test_points_in_words(difference: float, text: str) -> None:
    assert in_points(difference) == text


@pytest.mark.parametrize(
    ("count", "reference", "text"),
    [
        (1922, 53098, "27.6 times fewer parameters than"),
        (53098, 1922, "27.6 times more parameters than"),
        (410, 100, "4.1 times more parameters than"),
        (100, 100, "as many parameters as"),
        (98, 100, "2 % fewer parameters than"),
        (103, 100, "3 % more parameters than"),
        (105, 100, "1.1 times more parameters than"),
        (1, 5_000_000, "5,000,000.0 times fewer parameters than"),
    ],
)
def test_a_count_beside_another(count: float, reference: float, text: str) -> None:
    assert relative_count(count, reference, "parameters") == text
