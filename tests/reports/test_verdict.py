"""The first sentence of a report, from results that are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group, gain_of
from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import MissingRun, Run
from kd_runner.reports.verdict import verdict_of


def run_of(student: np.ndarray, baseline: np.ndarray | None, name: str = "soft", seed: int = 0) -> Run:
    """A run whose networks are right on those test images."""
    stages: dict[str, Any] = {
        stage: None
        if right is None
        else {"accuracy": float(right.mean()), "correct": pack_bits(torch.from_numpy(right))}
        for stage, right in (("student", student), ("baseline", baseline))
    }
    return Run(Path(name), (f"distillation={name}",), (str(seed), "0"), stages)


def right(count: int, of: int = 1000) -> np.ndarray:
    return np.arange(of) < count


def seeds(gains: list[int], name: str = "soft") -> list[Run]:
    return [run_of(right(800 + gain), right(800), name, seed) for seed, gain in enumerate(gains)]


def test_over_seeds_the_test_is_the_paired_t_test() -> None:
    gains = [10, 14, 8, 13, 11]
    gain = gain_of(Group(("a",), seeds(gains)))
    assert gain is not None
    wanted = stats.ttest_1samp(np.array(gains) / 1000, 0)
    low, high = wanted.confidence_interval(0.95)
    assert (gain.low, gain.high) == (pytest.approx(low), pytest.approx(high))
    assert gain.p == pytest.approx(wanted.pvalue)
    assert (gain.over, gain.seeds) == ("seeds", 5)


def test_of_one_seed_and_of_equal_gains_the_images_decide() -> None:
    for gains in ([20], [20, 20, 20]):
        gain = gain_of(Group(("a",), seeds(gains)))
        assert gain is not None
        assert gain.over == "images"
        assert gain.p == pytest.approx(stats.binomtest(20, 20).pvalue)
        assert gain.low is not None
        assert 0.01 < gain.low < 0.02


@pytest.mark.parametrize(
    ("gains", "word", "headline"),
    [
        ([10, 14, 8, 13, 11], "helped", "Distillation helped: +1.12 points"),
        ([-10, -14, -8, -13, -11], "cost", "Distillation cost accuracy: -1.12 points"),
        ([10, -14, 8, -13, 11], "unsure", "No sure difference: +0.04 points"),
        ([3], "unsure", "No sure difference: +0.30 points"),
        ([40], "helped", "Distillation helped: +4.00 points"),
    ],
)
def test_the_headline(gains: list[int], word: str, headline: str) -> None:
    answer = verdict_of(compared_groups(seeds(gains)))
    assert (answer.word, answer.headline) == (word, headline)
    assert ("another seed" in str(answer)) == (len(gains) == 1)


def test_many_rows_are_held_to_more() -> None:
    """A p of 0.03 alone is a difference, and the best of ten such is none."""
    gains = [6, 10, 2, 12, 1]
    alone = verdict_of(compared_groups(seeds(gains)))
    assert alone.word == "helped"
    assert "Holm" not in str(alone)
    others = [run for row in range(9) for run in seeds([1, -1, 2, -2, 0], f"other{row}")]
    among = verdict_of(compared_groups([*seeds(gains), *others]))
    assert among.word == "unsure"
    assert among.best is not None
    assert among.best.words == ("distillation=soft",)
    assert "Of 10 rows with a teacher, 10 without a sure difference" in str(among)
    assert "interval and p with Holm's correction for 10 rows" in str(among)
    # The interval that is printed goes with that p: it has 0 in it, as the one of the row alone has not.
    assert among.best.gain is not None
    assert among.best.gain.low is not None
    assert among.best.gain.low > 0
    corrected = among.best.corrected
    wanted = stats.ttest_1samp(np.array(gains) / 1000, 0)
    assert corrected is not None
    assert corrected.low is not None
    assert corrected.p == pytest.approx(10 * wanted.pvalue)
    assert corrected.low == pytest.approx(wanted.confidence_interval(1 - 0.05 / 10).low)
    assert corrected.low < 0
    assert f"95 % interval {100 * corrected.low:+.2f} to" in str(among)


def chosen_by(val: float, runs: list[Run]) -> list[Run]:
    for run in runs:
        run.result["student"]["best_val"] = {"val_accuracy": val}
    return runs


def test_the_verdict_is_about_the_row_that_validation_chose() -> None:
    """The row that is best on the test images is another one, and its seeds that failed are why it looks so good."""
    first, second = chosen_by(0.9, seeds([6, 7, 5], "soft")), chosen_by(0.8, seeds([60, 64, 61], "dkd"))
    verdict = verdict_of(compared_groups([*second, *first]))
    assert verdict.best is not None
    assert verdict.best.words == ("distillation=soft",)
    assert verdict.headline == "Distillation helped: +0.60 points"
    assert "chosen by its accuracy on the validation images: the test images had no part in the choice" in str(verdict)
    lost = [MissingRun(Path(), f"distillation=soft seed={seed}", "failed") for seed in (7, 8)]
    verdict = verdict_of(compared_groups([*second, *first], missing=lost))
    assert verdict.best is not None
    assert verdict.best.words == ("distillation=dkd",)
    alone = verdict_of(compared_groups(first, missing=lost))
    assert "Only 3 of its 5 runs have a result." in str(alone)
    unknown = verdict_of(compared_groups([*seeds([6, 7, 5], "soft"), *seeds([1, 2, 1], "dkd")]))
    assert "chosen by the test images that it is measured on, which flatters it" in str(unknown)


def test_what_cannot_be_answered_is_not() -> None:
    assert verdict_of([]).headline == "No result yet"
    assert verdict_of(compared_groups([run_of(right(80), None)])).word == "unknown"
    only_labels = [run_of(right(800), right(800), "none")]
    assert str(verdict_of(compared_groups(only_labels))).startswith(
        "Nothing was distilled. The student learned from labels alone"
    )
    old = run_of(right(80), right(70))
    for stage in ("student", "baseline"):
        del old.result[stage]["correct"]
    assert verdict_of(compared_groups([old])).word == "unknown"
    assert "nothing to say how sure that is" in verdict_of(compared_groups([old])).headline


def test_the_first_row_may_have_no_teacher_and_finetuning_is_no_gain_of_the_teachers() -> None:
    groups = compared_groups([*seeds([0], "none"), *seeds([-9], "soft")])
    assert "The first row of all has no teacher" in str(verdict_of(groups))
    more = run_of(right(850), right(800))
    more.result["student"]["images_seen"], more.result["baseline"]["images_seen"] = 200, 100
    assert "saw more images than its baseline" in str(verdict_of(compared_groups([more])))
