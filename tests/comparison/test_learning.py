"""Networks that have not learned, by their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from kd_runner.comparison.groups import Group
from kd_runner.comparison.learning import guessing_in_words, has_not_learned, neither_has_learned
from kd_runner.files.results import Run


def group_of(*accuracies: float, images: int = 539, share: float = 0.1, **changes: Any) -> Group:
    data = {"test": images, "largest_class": {"test": {"share": share}}}
    return Group(
        (),
        [
            Run(Path(), (), ("0", "0"), {"student": {"accuracy": accuracy}, "data": data, **changes})
            for accuracy in accuracies
        ],
    )


@pytest.mark.parametrize(("hits", "unlearned"), [(20, True), (54, True), (64, True), (70, False), (500, False)])
def test_a_network_has_learned_where_so_many_hits_are_surely_no_chance(hits: int, unlearned: bool) -> None:
    assert (stats.binomtest(hits, 539, 0.1, alternative="greater").pvalue >= 0.05) == unlearned
    assert has_not_learned(group_of(hits / 539), "student") == unlearned


def test_runs_count_together_and_few_images_say_nothing() -> None:
    assert has_not_learned(group_of(0.08, 0.13, 0.10), "student")
    assert not has_not_learned(group_of(0.08, 0.9), "student")
    assert not has_not_learned(group_of(0.1, images=20), "student")
    assert not has_not_learned(group_of(1.0, share=1.0), "student")
    assert not has_not_learned(group_of(0.1, data={}), "student")


def test_runs_whose_scatter_is_small_are_surely_above_guessing_together() -> None:
    accuracies = [0.119, 0.115, 0.123, 0.12, 0.118, 0.117, 0.121, 0.122, 0.116, 0.119]
    assert all(
        stats.binomtest(round(one * 539), 539, 0.102, alternative="greater").pvalue >= 0.05 for one in accuracies
    )
    assert stats.ttest_1samp(accuracies, 0.102, alternative="greater").pvalue < 1e-5
    assert has_not_learned(group_of(accuracies[0], share=0.102), "student")
    assert not has_not_learned(group_of(*accuracies, share=0.102), "student")
    assert has_not_learned(group_of(0.08, 0.13, 0.10, share=0.102), "student")


@pytest.mark.parametrize(
    ("numbers", "unlearned"),
    [
        ({"balanced_accuracy": 0.5, "auroc": 0.5}, True),
        ({"balanced_accuracy": 0.55, "auroc": 0.55}, True),  # 0.89 and 1.04 standard errors above chance
        ({"balanced_accuracy": 0.816, "auroc": 0.5}, False),
        ({"balanced_accuracy": 0.5, "auroc": 0.97}, False),
        ({}, True),
    ],
)
def test_where_one_class_is_large_telling_the_others_from_it_is_learning(
    numbers: dict[str, float], unlearned: bool
) -> None:
    data = {"test": 400, "classes": 2, "largest_class": {"test": {"share": 0.9}}}
    group = group_of(0.7, data=data, student={"accuracy": 0.7, **numbers})
    assert has_not_learned(group, "student") == unlearned
    equal = {**data, "largest_class": {"test": {"share": 0.5}}}
    assert has_not_learned(group_of(0.5, data=equal, student={"accuracy": 0.5, **numbers}), "student")


def test_both_networks_must_have_learned_nothing() -> None:
    assert neither_has_learned(group_of(0.1, baseline={"accuracy": 0.06}))
    assert not neither_has_learned(group_of(0.1, baseline={"accuracy": 0.6}))
    assert not neither_has_learned(group_of(0.1))
    assert guessing_in_words(group_of(0.1)) == "always guessing the largest class gives 10.0 %"


def test_of_several_labels_the_validation_map_tells() -> None:
    student = {"accuracy": 0.2, "best_val": {"val_accuracy": 0.19}}
    group = group_of(0.5, metric="map", student=student, teacher={"judged": {"guessing_map": 0.2}})
    assert has_not_learned(group, "student")
    assert guessing_in_words(group) == "guessing gives an mAP of about 20.0 %"
    assert not has_not_learned(group_of(0.5, metric="map", student=student), "student")
