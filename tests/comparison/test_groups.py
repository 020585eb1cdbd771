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
from kd_runner.comparison.groups import Group, Pairs, compare_groups, gain_of
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
    assert compare_groups(Group((), [run(0, 150)]), Group((), [run(1, 150)])) == {}


def test_pairs_are_tested_by_their_signs() -> None:
    pairs = Pairs(np.array([2, 1, 1, 0, 0, -1, 1, 1]), 2)
    assert pairs.p == pytest.approx(stats.binomtest(5, 6).pvalue)


def test_the_paired_tests_are_those_of_the_textbooks(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pairs = [(draw.random(400) < 0.8, draw.random(400) < 0.75) for _ in range(3)]
    for seed, (soft, hard) in enumerate(pairs):
        write_run(tmp_path / f"a{seed}", ["distillation=soft", f"seed={seed}"], soft)
        write_run(tmp_path / f"b{seed}", ["distillation=hard", f"seed={seed}"], hard)
    write_run(tmp_path / "b9", ["distillation=hard", "seed=9"], draw.random(400) < 0.1)  # has no partner
    groups = {group.name: group for group in compared_groups(find_runs([tmp_path])[0])}
    outcome = compare_groups(groups["distillation=soft"], groups["distillation=hard"])
    soft, hard = (np.stack(column) for column in zip(*pairs, strict=True))
    assert outcome["seeds"] == 3
    assert outcome["difference"] == pytest.approx(soft.mean() - hard.mean())
    better, worse = (soft.sum(0) > hard.sum(0)).sum(), (soft.sum(0) < hard.sum(0)).sum()
    assert outcome["p"] == pytest.approx(stats.binomtest(int(better), int(better + worse)).pvalue)
    # The bootstrap, written out: images drawn with replacement, the same for all seeds.
    difference = (soft.astype(float) - hard).mean(0)
    means = difference[draw.integers(0, 400, (20_000, 400))].mean(1)
    assert outcome["low"] == pytest.approx(np.quantile(means, 0.025), abs=0.003)
    assert outcome["high"] == pytest.approx(np.quantile(means, 0.975), abs=0.003)


def test_the_sign_test_is_mcnemars_with_one_seed_and_honest_with_several(tmp_path: Path) -> None:
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
        significant += compare_groups(a, b)["p"] < 0.05
        if trial == 0:
            first, second = (Group(group.words, group.runs[:1]) for group in (a, b))
            first_correct, second_correct = first.runs[0].correct, second.runs[0].correct
            assert first_correct is not None
            assert second_correct is not None
            discordant = int((first_correct != second_correct).sum())
            wanted = stats.binomtest(int((first_correct & ~second_correct).sum()), discordant).pvalue
            assert compare_groups(first, second)["p"] == pytest.approx(wanted)
    assert significant <= 20  # 10 are expected; more than 20 have a chance of 0.1 %


def test_other_test_images_are_not_compared(tmp_path: Path) -> None:
    for name, images in (("mnist", "aa"), ("fashion_mnist", "bb")):
        folder = write_run(tmp_path / name, [f"dataset={name}", "seed=0"], right(70))
        result = json.loads((folder / "result.json").read_text())
        result["student"]["correct"]["of"] = images
        (folder / "result.json").write_text(json.dumps(result))
    groups = compared_groups(find_runs([tmp_path])[0], reference="dataset=mnist")
    assert [group.against.get("difference") for group in groups] == [None, None]


def test_equals_do_not_differ(tmp_path: Path) -> None:
    for name in "ab":
        write_run(tmp_path / name, [f"distillation={name}", "seed=0"], right(70))
    first, second = compared_groups(find_runs([tmp_path])[0], reference="distillation=a")
    assert first.against == {}
    assert second.against["difference"] == second.against["low"] == second.against["high"] == 0
    assert second.against["p"] == 1
