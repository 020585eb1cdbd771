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
