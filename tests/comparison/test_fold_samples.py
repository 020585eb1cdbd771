"""The runs of a cross-validation are one row, whose interval knows that folds share most of their training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from leaderboard_cases import right, write_run
from page_text import text_of
from scipy import stats

from kd_runner.charts.sweep_charts import strips
from kd_runner.comparison.grouping import compared_groups
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of, markdown
from kd_runner.reports.sweep_page import sweep_page

COUNTS = [80, 84, 77, 82, 90]  # right answers of 100 in each of the five folds, with seed 0
BASELINE = 0.7


def cross_validation(folder: Path, mode: str, change: int = 0, seeds: int = 1, folds: int = 5) -> None:
    for number, count in enumerate(COUNTS[:folds]):
        for seed in range(seeds):
            words = [f"distillation={mode}", "folds=5", f"fold={number}", f"seed={seed}"]
            correct = right(count + change + 2 * seed)
            write_run(
                folder / f"{mode}{number}{seed}",
                words,
                correct,
                seed=seed,
                data_seed=0,
                data={"folds": 5, "fold": number, "test": 100},
                baseline={"accuracy": BASELINE + number / 100, "parameters": 1000},
            )


def test_folds_are_one_row_with_a_widened_interval(tmp_path: Path) -> None:
    cross_validation(tmp_path, "soft", seeds=2)
    (group,) = compared_groups(find_runs([tmp_path])[0])
    assert (len(group.runs), group.planned, group.words) == (10, 10, ("distillation=soft", "folds=5"))
    gains = (np.array(COUNTS) + 1) / 100 - (BASELINE + np.arange(5) / 100)  # means over two seeds
    gain = group.gain
    assert gain is not None
    assert (gain.seeds, gain.over) == (5, "folds")
    assert gain.mean == pytest.approx(gains.mean())
    error = gains.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)  # Nadeau and Bengio's
    assert (gain.low, gain.high) == pytest.approx(stats.t.interval(0.95, 4, gains.mean(), error))
    assert gain.p == pytest.approx(2 * stats.t.sf(gains.mean() / error, 4))
    accuracies = (np.array(COUNTS) + 1) / 100
    (row,) = leaderboard_of([tmp_path]).rows
    assert row["test_accuracy"] == pytest.approx(accuracies.mean())
    half = stats.t.ppf(0.975, 4) * accuracies.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert (row["n"], row["ci95"]) == (10, pytest.approx(half))
    text = markdown(leaderboard_of([tmp_path]))
    assert "Over 5 folds, the student is right on 83.60 %" in text
    assert "paired t-test over folds" in text
    assert "Nadeau and Bengio 2003" in text


def test_a_fold_with_more_seeds_counts_no_more_than_others(tmp_path: Path) -> None:
    """All that a row says of a gain is the mean over folds, as are its interval and its p; there were two means."""
    gains = {0: [20, 22, 24], 1: [1], 2: [2], 3: [0], 4: [1]}
    for fold, of_fold in gains.items():
        for seed, gain in enumerate(of_fold):
            write_run(
                tmp_path / f"{fold}{seed}",
                ["distillation=soft", "folds=5", f"fold={fold}", f"seed={seed}"],
                right(60 - fold + gain),
                seed=seed,
                data_seed=0,
                data={"folds": 5, "fold": fold, "test": 100},
                baseline={"accuracy": (60 - fold) / 100, "parameters": 1000},
                teacher={"accuracy": 0.9 - fold / 100},
            )
    leaderboard = leaderboard_of([tmp_path])
    (row,) = leaderboard.rows
    mean = np.mean([np.mean(of_fold) for of_fold in gains.values()]) / 100
    assert mean == pytest.approx(0.052)  # over the seven runs it is 0.1
    assert row["gain"] == pytest.approx(mean)
    assert (row["gain_low"] + row["gain_high"]) / 2 == pytest.approx(row["gain"])
    assert (row["n"], row["baseline"], row["teacher"]) == (7, pytest.approx(0.58), pytest.approx(0.88))
    for name in ("test_accuracy", "test_accuracy_at_best_val", "val_accuracy"):
        assert row[name] == pytest.approx(0.58 + mean)
    assert leaderboard.groups[0].val_accuracy == pytest.approx(0.58 + mean)
    assert leaderboard.groups[0].gap is not None
    assert leaderboard.groups[0].gap.gain == pytest.approx(mean)
    sentence = "Over 5 folds, the student is right on 63.20 % of the test images, without its teacher on 58.00 %: "
    assert leaderboard.verdict.sentences[0].startswith(f"{sentence}a gain of +5.20 points, ")
    page = text_of(sweep_page(leaderboard, [tmp_path], tmp_path))
    for tile in ("teacher 88.00 %", "student alone 58.00 %", "student, distilled 63.20 %"):
        assert tile in page
    drawn = strips(leaderboard.groups)
    assert drawn is not None
    strip = drawn.rows[0][2].root
    places = {}
    for circle in strip.iter("circle"):
        name, value, _ = str(circle[0].text).split()
        if name == "student":
            places[float(value)] = float(str(circle.get("cx")).rstrip("%"))
    (line,) = [line for line in strip.iter("line") if line.get("class") == "mean"]
    at_mean = np.interp(63.2, sorted(places), [places[value] for value in sorted(places)])
    assert float(str(line.get("x1")).rstrip("%")) == pytest.approx(at_mean, abs=0.1)


def test_two_cross_validations_are_compared_fold_by_fold(tmp_path: Path) -> None:
    cross_validation(tmp_path, "soft")
    cross_validation(tmp_path, "dkd", change=-3)
    groups = compared_groups(find_runs([tmp_path])[0], "dkd")
    against = groups[0].against
    assert against is not None
    assert (against.mean, against.seeds, against.over) == (pytest.approx(0.03), 5, "images")  # no spread over folds
    # All 500 images of the folds: soft is right on 15 more, and on none less.
    assert against.p == pytest.approx(2 * 0.5**15)


def test_a_row_that_lacks_a_fold_is_incomplete(tmp_path: Path) -> None:
    cross_validation(tmp_path, "soft", folds=4)
    words = ["distillation=soft", "folds=5", "fold=4", "seed=0"]
    write_run(tmp_path / "last", words, status="failed", error="x", student=None, seed=0, data_seed=0)
    (group,) = compared_groups(*find_runs([tmp_path])[:1], missing=find_runs([tmp_path])[1])
    assert (group.planned, group.lacking) == (5, 1)
