"""Groups over seeds: pairs on the same test images, gains over baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from leaderboard_cases import right, write_run
from scipy import stats

from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group, Pairs, accuracies_to_choose_by, corrected_gains, gain_of, gain_over
from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import Run, find_runs

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
    assert gain_over(Group((), [run(0, 150)]), Group((), [run(1, 150)])) is None


def test_a_gain_over_another_group_is_a_paired_t_test_on_common_seeds(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pairs = [(draw.random(400) < 0.8, draw.random(400) < 0.75) for _ in range(3)]
    for seed, (soft, hard) in enumerate(pairs):
        write_run(tmp_path / f"a{seed}", ["distillation=soft", f"seed={seed}"], soft)
        write_run(tmp_path / f"b{seed}", ["distillation=hard", f"seed={seed}"], hard)
    write_run(tmp_path / "b9", ["distillation=hard", "seed=9"], draw.random(400) < 0.1)  # has no partner
    groups = {group.name: group for group in compared_groups(find_runs([tmp_path])[0])}
    gain = gain_over(groups["distillation=soft"], groups["distillation=hard"])
    assert gain is not None
    soft, hard = (np.stack(column).mean(1) for column in zip(*pairs, strict=True))
    wanted = stats.ttest_rel(soft, hard)
    low, high = wanted.confidence_interval()
    assert (gain.seeds, gain.over) == (3, "seeds")
    assert gain.mean == pytest.approx(soft.mean() - hard.mean())
    assert gain.p == pytest.approx(wanted.pvalue)
    assert (gain.low, gain.high) == (pytest.approx(low), pytest.approx(high))


def test_of_one_seed_the_interval_is_over_images_and_knows_of_few_that_differ() -> None:
    """20 images that only the student is right on: 19 or 25 would not be odd, whatever the exact test says of 20."""
    gain = Pairs(np.array([1] * 20 + [0] * 980), np.array([0.02]))
    low, high = gain.interval()
    assert low == pytest.approx(stats.poisson.ppf(0.025, 20) / 1000, abs=0.001)
    assert high == pytest.approx(stats.poisson.ppf(0.975, 20) / 1000, abs=0.001)


@pytest.mark.parametrize("images", [1, 6, 539])
def test_where_no_image_differs_the_interval_is_as_wide_as_the_share_that_may(images: int) -> None:
    """As the exact interval of Clopper and Pearson has it for no success in as many trials."""
    for error in (0.05, 0.05 / 30):
        wanted = stats.binomtest(0, images).proportion_ci(1 - error, "exact").high
        for repeats in (1, 5):
            pairs = Pairs(np.zeros(images, int), np.zeros(repeats), repeats=repeats)
            assert pairs.interval(error) == (pytest.approx(-wanted), pytest.approx(wanted))
            assert pairs.p == 1


def gains_on_own_images(gains: list[float]) -> tuple[Group, Group]:
    """Two groups of 200 test images, others for each data seed, whose second is right on 70 %."""

    def group(rights: list[int]) -> Group:
        runs = []
        for data_seed, count in enumerate(rights):
            packed = pack_bits(torch.arange(IMAGES) < count) | {"of": f"images {data_seed}"}
            numbers = stage(count) | {"correct": packed}
            others = {
                "baseline": stage(140) | {"correct": pack_bits(torch.arange(IMAGES) < 140) | {"of": packed["of"]}}
            }
            runs.append(Run(Path(), (), ("0", str(data_seed)), {"student": numbers, **others, "teacher": numbers}))
        return Group((), runs)

    return group([round(IMAGES * (0.7 + gain)) for gain in gains]), group([140] * len(gains))


def test_a_gain_over_another_group_is_of_all_data_seeds() -> None:
    gains = [0.10, 0.0, -0.05, -0.05, -0.05]
    gain = gain_over(*gains_on_own_images(gains))
    assert gain is not None
    wanted = stats.ttest_1samp(gains, 0)
    assert (gain.mean, gain.seeds, gain.over) == (pytest.approx(-0.01), 5, "seeds")
    assert gain.p == pytest.approx(wanted.pvalue)
    low, high = wanted.confidence_interval()
    assert (gain.low, gain.high) == (pytest.approx(low), pytest.approx(high))


def test_equal_gains_of_several_data_seeds_are_still_of_so_many() -> None:
    group, reference = gains_on_own_images([0.05] * 5)
    for gain in (gain_over(group, reference), gain_of(group)):
        assert gain is not None
        assert (gain.mean, gain.seeds, gain.over) == (pytest.approx(0.05), 5, "images")
        assert gain.p == pytest.approx(stats.binomtest(0, 10).pvalue)  # of the 10 images of one data seed
        assert (gain.low or 0) > 0


def test_over_images_interval_and_p_never_contradict_each_other() -> None:
    draw = np.random.default_rng(3)
    sure = 0
    for _ in range(200):
        seeds = int(draw.integers(1, 4))
        values = draw.choice([-1, 0, 1], (seeds, int(draw.integers(10, 300))), p=[0.04, 0.86, 0.1])
        pairs, error = Pairs(values.sum(0), values.mean(1)), float(draw.choice([0.05, 0.01, 0.05 / 30]))
        low, high = pairs.interval(error)
        assert (low > 0 or high < 0) is (pairs.p < error)
        assert low <= values.mean() + 1e-9
        assert high >= values.mean() - 1e-9
        sure += pairs.p < error
    assert 50 < sure < 150


def test_corrected_for_many_rows_interval_and_p_agree() -> None:
    """A gain whose p alone is 0.03 has an interval without 0; among ten rows, both say that nothing is sure."""
    draw = np.random.default_rng(0)
    excluded = 0
    for _ in range(100):
        gains = [
            Group((), [run(seed, 150 + int(shift), 150) for seed, shift in enumerate(draw.normal(mean, 5, 6))])
            for mean in draw.choice([0, 6, 20], 5)  # of 200 images
        ]
        alone = [gain_of(group) for group in gains]
        at = [lambda error=0.05, group=group: gain_of(group, error) for group in gains]
        corrected = corrected_gains(alone, at)
        for one, gain in zip(alone, corrected, strict=True):
            assert one is not None and gain is not None  # noqa: PT018
            assert one.p is not None and gain.p is not None  # noqa: PT018
            assert one.low is not None and gain.low is not None and gain.high is not None  # noqa: PT018
            assert (gain.low > 0 or gain.high < 0) is (gain.p < 0.05)
            assert gain.p >= one.p
            assert gain.low <= one.low + 1e-12
            assert (gain.rows, gain.mean) == (5, one.mean)
            excluded += gain.p < 0.05
        first = min(range(5), key=lambda row: alone[row].p)  # type: ignore[union-attr, return-value, arg-type]
        bonferroni = gain_of(gains[first], 0.05 / 5)
        assert corrected[first].low == bonferroni.low  # type: ignore[union-attr]
    assert 50 < excluded < 450


def test_what_to_choose_by_is_of_the_validation_images_where_all_have_them() -> None:
    groups = [Group((), [run(seed, right)]) for seed, right in enumerate((150, 160))]
    assert accuracies_to_choose_by(groups) == ([0.75, 0.8], "test")
    groups[0].runs[0].result["student"]["best_val"] = {"val_accuracy": 0.9}
    groups = [Group((), group.runs) for group in groups]
    assert accuracies_to_choose_by(groups) == ([0.75, 0.8], "test")
    groups[1].runs[0].result["student"]["best_val"] = {"val_accuracy": 0.6}
    groups = [Group((), group.runs) for group in groups]
    assert accuracies_to_choose_by(groups) == ([0.9, 0.6], "validation")


def test_numbers_of_a_group_are_those_of_the_runs_that_have_them() -> None:
    group = Group((), [run(seed, 150) for seed in range(4)])
    results = [one.result for one in group.runs]
    results[0]["student"] |= {"best_val": {"epoch": 1, "val_accuracy": 0.25}, "nll": 0.5}
    results[1]["student"] |= {"best_val": {"epoch": 2}, "nll": None}
    results[2]["student"] |= {"best_val": "no object"}
    results[3]["seconds"] = {"student": 7}
    assert group.values("student", "best_val", "val_accuracy").tolist() == [0.25]
    assert group.values("student", "best_val", "epoch").tolist() == [1.0, 2.0]
    assert group.values("student", "nll").tolist() == [0.5]
    assert group.values("seconds", "student").tolist() == [7.0]
    assert group.values("seconds", "student", "deeper").tolist() == []
    assert group.values("student", "accuracy").tolist() == [0.75] * 4
    assert group.val_accuracy is None


def test_the_test_over_images_is_mcnemars_with_one_seed_and_honest_with_several(tmp_path: Path) -> None:
    """Of two methods that are equally good, one in twenty comparisons is significant, however many seeds there are."""
    draw = np.random.default_rng(1)
    easiness = draw.random(300) * 0.6 + 0.4  # how often each image is classified correctly, by either
    significant = 0
    for trial in range(200):
        runs = {
            name: [
                Run(
                    tmp_path,
                    (name,),
                    (seed,),
                    {"student": {"correct": pack_bits(torch.from_numpy(draw.random(300) < easiness))}},
                )
                for seed in range(5)
            ]
            for name in "ab"
        }
        a, b = (Group((name,), members) for name, members in runs.items())
        pairs = Pairs.of(a, b)
        assert pairs is not None
        significant += pairs.p < 0.05
        if trial == 0:
            first, second = (Group(group.words, group.runs[:1]) for group in (a, b))
            first_correct, second_correct = first.runs[0].correct, second.runs[0].correct
            assert first_correct is not None
            assert second_correct is not None
            discordant = int((first_correct != second_correct).sum())
            wanted = stats.binomtest(int((first_correct & ~second_correct).sum()), discordant).pvalue
            gain = gain_over(first, second)
            assert gain is not None
            assert (gain.p, gain.over) == (pytest.approx(wanted), "images")
    assert significant <= 20  # 10 are expected; more than 20 have a chance of 0.1 %


def test_other_test_images_are_not_compared(tmp_path: Path) -> None:
    for name, images in (("mnist", "aa"), ("fashion_mnist", "bb")):
        folder = write_run(tmp_path / name, [f"dataset={name}", "seed=0"], right(70))
        result = json.loads((folder / "result.json").read_text())
        result["student"]["correct"]["of"] = images
        (folder / "result.json").write_text(json.dumps(result))
    groups = compared_groups(find_runs([tmp_path])[0], reference="dataset=mnist")
    assert [group.against for group in groups] == [None, None]


def test_equals_do_not_differ(tmp_path: Path) -> None:
    for name in "ab":
        write_run(tmp_path / name, [f"distillation={name}", "seed=0"], right(70))
    first, second = compared_groups(find_runs([tmp_path])[0], reference="distillation=a")
    assert first.against is None
    assert second.against is not None
    assert (second.against.mean, second.against.p) == (0, 1)
    assert second.against.high == -second.against.low == pytest.approx(1 - 0.025 ** (1 / 100))
    assert second.against.p == 1
